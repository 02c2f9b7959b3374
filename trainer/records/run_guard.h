// Stands between a run and its folder: whether it may write there, and what is done when somebody has deleted what it
// wrote. Each writer of records asks it before it writes. Links no torch.
//
//   deleted under a live run         what happens
//   metrics.jsonl, completions.sqlite   an alarm, begun anew by its writer; the first new line says so
//   the folder, or RUN/lock          an alarm, made anew with config.yaml, run_id and endpoint.json; then as above
//   data.json, summary.json, spending.json, quarantine.jsonl   nothing is lost: the next write replaces the whole file
//   checkpoints                      nothing is said: the next one is whole by itself
//
// An alarm is an error in the log, and shown with the run's state until its end (RunStatus.state_reason).
#ifndef GRPO_TRAINER_RECORDS_RUN_GUARD_H_
#define GRPO_TRAINER_RECORDS_RUN_GUARD_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/run_lock.h"

namespace grpo {

// One thread, the training thread.
class RunGuard {
 public:
  struct Entry {
    std::string run_dir;
    std::string run_id;
    // Of config.yaml, for a folder that is made anew.
    std::string resolved_yaml;
    // Of a lock that a supervisor holds and has handed down (RunLock::fd); -1: this process takes it.
    int lock_fd = -1;
    // Whether the run goes on with what is in the folder.
    bool resume = false;
  };

  // Rank 0's right to write into the folder, which is created if need be. AlreadyExists when another run holds it, or
  // when it holds the records of a run and `resume` is not set. Nothing but the lock is written. RunLock's errors.
  static absl::StatusOr<std::unique_ptr<RunGuard>> Enter(Entry entry);

  // `alarm` shows all alarms so far. `begun_anew` is called when the folder had to be made anew, for what else stands
  // there.
  void OnAlarm(std::function<void(const std::string& alarms)> alarm) { on_alarm_ = std::move(alarm); }
  void OnBegunAnew(std::function<absl::Status()> begun_anew) { on_begun_anew_ = std::move(begun_anew); }

  // To be called before something is written: RunLock::Check, cheap. A folder that is gone is made anew. After an error
  // nothing may be written.
  absl::Status Check();
  // Whether the folder is there and this run's. Changes nothing.
  bool IsOurs() const { return lock_->IsOurs(); }
  // Says it in the log, and to OnAlarm's.
  void Alarm(const std::string& what);

 private:
  RunGuard(Entry entry, std::unique_ptr<RunLock> lock) : entry_(std::move(entry)), lock_(std::move(lock)) {}
  // What stands in a run's folder beside its records.
  absl::Status MakeWhole() const;

  const Entry entry_;
  const std::unique_ptr<RunLock> lock_;
  std::function<void(const std::string&)> on_alarm_;
  std::function<absl::Status()> on_begun_anew_;
  // Each once.
  std::string alarms_;
  // RunLock::times_begun_anew of the folder that was made whole last.
  int64_t made_whole_ = 0;
};

// For writers that may have no guard, in tests: nobody else is there, and alarms are for the log alone.
absl::Status MayWrite(RunGuard* guard);
void RaiseAlarm(RunGuard* guard, const std::string& what);

}  // namespace grpo

#endif  // GRPO_TRAINER_RECORDS_RUN_GUARD_H_
