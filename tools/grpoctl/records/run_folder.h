// The folder of one run: who may use it, what it holds, and where the run is served.
//
//   config.yaml              resolved configuration
//   lock                     who has the folder (common/run_lock.h)
//   run_id                   names the run
//   endpoint.json            where the trainer serves, while it does (common/rpc/endpoint.h)
//   endpoints/<name>.json    where each reward server does
//   tls/                     its own certificates (tools/launch/run_certificates.h), where it has some
//   logs/<name>.log          stdout and stderr of each process, appended
//   launch/job.json          of a launched run: the job that it was submitted as
//   ended.json               how the run ended, while nothing serves it (trainer/records/run_end.h)
//   summary.json, metrics.jsonl, completions.sqlite, data.json, spending.json, checkpoints/    written by the trainer
#ifndef GRPO_TOOLS_GRPOCTL_RECORDS_RUN_FOLDER_H_
#define GRPO_TOOLS_GRPOCTL_RECORDS_RUN_FOLDER_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "common/rpc/endpoint.h"
#include "common/run_lock.h"

namespace grpo {

// Where the run's trainer serves. NotFound when there is no such folder, Unavailable when no process serves the run,
// DataLoss when the file is broken. That the file is there does not say that the process lives.
absl::StatusOr<Endpoint> FindEndpoint(const std::string& run_dir);

// The run under `runs_folder` that was started last; NotFound when there is none. By when its lock was last taken.
absl::StatusOr<std::string> NewestRun(const std::string& runs_folder);

// The right to write into a run folder, held until destruction or death. One thread.
class RunFolder {
 public:
  // Creates the folder if need be. AlreadyExists when another process runs in it (RunLock names it), or when it holds
  // files that no run wrote; then nothing is touched. RunLock's errors for the disk.
  static absl::StatusOr<std::unique_ptr<RunFolder>> Lock(const std::string& path);

  // Absolute.
  const std::string& path() const { return path_; }
  std::string config_path() const { return path_ + "/config.yaml"; }
  // Whether a run was started here before.
  bool HasRun() const;

  // Makes the subfolders and writes config.yaml, whose hash the run's processes compare. Replaces a config.yaml that is
  // there. ErrnoStatus's codes.
  absl::Status Begin(const std::string& resolved_yaml);
  // The run's id: made at the first call, "<run_name>-<8 hex digits>", the same ever after. The lock names it from then
  // on. ErrnoStatus's codes.
  absl::StatusOr<std::string> RunId(const std::string& run_name);
  // For the trainer to inherit.
  int lock_fd() const { return lock_->fd(); }

 private:
  RunFolder(std::string path, std::unique_ptr<RunLock> lock) : path_(std::move(path)), lock_(std::move(lock)) {}
  const std::string path_;
  const std::unique_ptr<RunLock> lock_;
};

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_RECORDS_RUN_FOLDER_H_
