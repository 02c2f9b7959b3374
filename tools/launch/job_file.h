// What is remembered of a run that was launched.
//
//   RUN/launch/<files>     what the target rendered, as it was submitted
//   RUN/launch/job.json    the job: {"target":"slurm","job":"42","submitted_at":"2026-11-30T02:51:12Z","run_id":"quickstart-0a1b2c3d"}
#ifndef GRPO_TOOLS_LAUNCH_JOB_FILE_H_
#define GRPO_TOOLS_LAUNCH_JOB_FILE_H_

#include <optional>
#include <string>

#include "absl/status/status.h"

namespace grpo {

// A job that was submitted.
struct LaunchedJob {
  std::string target, job;
  // RFC 3339, UTC.
  std::string submitted_at;
  std::string run_id;
};

// RUN/launch. Pure.
std::string LaunchFolder(const std::string& run_dir);
// WriteFileAtomically's errors; the folder is there. Any thread.
absl::Status WriteJob(const std::string& run_dir, const LaunchedJob& job);
// Nothing where the run was not launched, or the file cannot be read. Any thread.
std::optional<LaunchedJob> ReadJob(const std::string& run_dir);

}  // namespace grpo

#endif  // GRPO_TOOLS_LAUNCH_JOB_FILE_H_
