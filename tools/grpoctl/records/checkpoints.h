// A run's checkpoints as files: what there is, and whether it is whole. Needs no trainer; a running one may save
// meanwhile. Any thread.
#ifndef GRPO_TOOLS_GRPOCTL_RECORDS_CHECKPOINTS_H_
#define GRPO_TOOLS_GRPOCTL_RECORDS_CHECKPOINTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace grpo {

struct CheckpointInfo {
  // "step-000000000120".
  std::string name;
  // The stage that goes on, and its step; "?" and -1 when state.json cannot be read. Nothing is verified.
  std::string stage;
  int64_t step = -1;
  // Of the files in it.
  int64_t size_bytes = 0;
  // By the wall clock, since it was committed.
  double age_seconds = 0;
  // LATEST names it.
  bool latest = false;
};

// From oldest to newest. NotFound when the run has none. Reads state.json of each, and no weights.
absl::StatusOr<std::vector<CheckpointInfo>> ListCheckpoints(const std::string& run_dir);
// For people, and as a JSON list of objects.
std::string CheckpointsTable(const std::vector<CheckpointInfo>& checkpoints);
std::string CheckpointsJson(const std::vector<CheckpointInfo>& checkpoints);

// One checkpoint, or LATEST, and what is wrong with it. No problems: it is whole.
struct VerifiedCheckpoint {
  std::string name;
  std::vector<std::string> problems;
};

// Reads every file of the checkpoint `name`, of all when it is empty (then LATEST comes last). NotFound when there is
// none. One that the run deleted meanwhile is left out.
absl::StatusOr<std::vector<VerifiedCheckpoint>> VerifyCheckpoints(const std::string& run_dir, const std::string& name);
// True for none at all.
bool AllWhole(const std::vector<VerifiedCheckpoint>& verified);
std::string VerifiedTable(const std::vector<VerifiedCheckpoint>& verified);
std::string VerifiedJson(const std::vector<VerifiedCheckpoint>& verified);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_RECORDS_CHECKPOINTS_H_
