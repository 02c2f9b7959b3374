// The runs under a folder: what their files say, and what the trainers say that serve now.
#ifndef GRPO_TOOLS_GRPOCTL_CLIENT_RUN_LIST_H_
#define GRPO_TOOLS_GRPOCTL_CLIENT_RUN_LIST_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "proto/trainer.pb.h"
#include "tools/grpoctl/records/run_record.h"

namespace grpo {

struct RunListOptions {
  // For one trainer's answer; all of them together get ten times that, and who has not been asked by then is not.
  absl::Duration deadline = absl::Seconds(1);
  // Folders that are read, and trainers that are asked, at a time.
  int num_threads = 32;
};

struct RunList {
  // The one that was started last comes first.
  std::vector<RunRecord> runs;
  // Names of the folders in which no run was started.
  std::vector<std::string> others;
};

// Those right under `folder`, or the folder itself where it is a run's. Asks no cluster, and of trainers only those
// whose endpoint.json is this user's or root's: it says where this user's token is sent. NotFound when there is no such
// folder; ErrnoStatus's codes when it cannot be read. Blocks for ten deadlines and what the file system takes.
absl::StatusOr<RunList> ListRuns(const std::string& folder, const RunListOptions& options, const Clock& clock);

// Takes what the trainer says of itself. Pure.
void TakeStatus(const v1::RunStatus& status, RunRecord* record);

// Printable.
std::string RunsTable(const std::vector<RunRecord>& runs);
// A list of objects, in the same order; null for what is not known. ASCII.
std::string RunsJson(const std::vector<RunRecord>& runs);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_CLIENT_RUN_LIST_H_
