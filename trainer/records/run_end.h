// RUN/ended.json: how a run ended, for whoever comes when nothing serves it any more (`grpoctl runs`). Written by rank
// 0 at an orderly end and removed when the run goes on; a trainer that was killed leaves none. Links no torch.
//
//   {"state":"STOPPED","reason":"...","stage":"r1_zero","step":40,"num_steps":120}
#ifndef GRPO_TRAINER_RECORDS_RUN_END_H_
#define GRPO_TRAINER_RECORDS_RUN_END_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "proto/trainer.pb.h"
#include "trainer/records/run_guard.h"

namespace grpo {

// Plain data.
struct RunEnd {
  // FINISHED, STOPPED or FAILED, as StateName says it.
  std::string state;
  // Why it was stopped or failed; empty otherwise.
  std::string reason = {};
  // The stage in which it ended, and what of it was done; num_steps is 0 where that is not known.
  std::string stage = {};
  int64_t step = 0, num_steps = 0;
};

// RUN/ended.json. Pure.
std::string RunEndPath(const std::string& run_dir);

// Of the run's last status, which is a terminal one. Nothing is written where `guard` forbids it (null: nobody else is
// in the folder). What the disk refuses is a warning in the log: no result depends on it.
void RecordRunEnd(RunGuard* guard, const std::string& run_dir, const v1::RunStatus& status);
// Before the run goes on. Nothing happens where there is none.
void RemoveRunEnd(const std::string& run_dir);
// NotFound where there is none, DataLoss for a file that is no such object with a state; keys that are missing or of
// another type read as empty or 0. ReadFile's errors. Any thread.
absl::StatusOr<RunEnd> ReadRunEnd(const std::string& run_dir);

}  // namespace grpo

#endif  // GRPO_TRAINER_RECORDS_RUN_END_H_
