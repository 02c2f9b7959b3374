// One run at a time in a folder: who holds the file `lock` in it may write there. The kernel keeps it (flock): a death
// gives it back, and a child that is handed the open descriptor holds it together with its parent. Where the file
// system has no such locks (ENOLCK, EOPNOTSUPP, ENOSYS) the file is a lease: its owner writes into it every tenth of
// the lease, and an owner that has not written for a whole lease is gone. Who wants the folder watches the file for
// that long, so nobody's wall clock matters.
//
//   lock   {"host":"h1","pid":4711,"run_id":"quickstart-0a1b2c3d"}; with a lease "renewals", at its end "released"
#ifndef GRPO_COMMON_RUN_LOCK_H_
#define GRPO_COMMON_RUN_LOCK_H_

#include <sys/file.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace grpo {

struct RunLockOptions {
  // Of a file system without locks: an owner that does not write for this long is taken for gone.
  absl::Duration lease = absl::Seconds(30);
  // Between looks at another's lease, or for the end of a dead holder's child. Tests wait for nobody.
  std::function<void(absl::Duration)> sleep = absl::SleepFor;
  // The system call; tests have file systems without it.
  std::function<int(int fd, int operation)> flock = ::flock;
};

// Who stands in the file: the holder, or the last one. Fields are empty or 0 where it does not say. Others may have
// written it: nothing of it is to be believed or printed as it is.
struct RunHolder {
  std::string host;
  int64_t pid = 0;
  std::string run_id;
};

// Held until destruction or death. One thread.
class RunLock {
 public:
  // RUN/lock. Pure.
  static std::string PathIn(const std::string& folder);
  // By the file alone, which does not say whether it is still held. Never waits. Any thread.
  static RunHolder HolderOf(const std::string& folder);

  // Creates the folder if need be. AlreadyExists when another process holds it, named by pid, host and run id; then
  // nothing was touched. ErrnoStatus's codes for the disk. `run_id` is for messages, and may come later. Blocks for a
  // lease at most, where a lease was left by an owner that died, and for 20 seconds at most where children of a holder
  // that was killed have not ended yet.
  static absl::StatusOr<std::unique_ptr<RunLock>> Take(const std::string& folder, const std::string& run_id = "",
                                                       RunLockOptions options = {});
  // Holds it together with the parent that handed down `fd`, its RunLock::fd(), which this closes in the end. When the
  // file has been deleted since, as Take. InvalidArgument for a number that is no open descriptor.
  static absl::StatusOr<std::unique_ptr<RunLock>> Inherit(const std::string& folder, int fd,
                                                          const std::string& run_id = "", RunLockOptions options = {});
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

  // To be called before something is written: two system calls. When the file was deleted, with its folder or alone,
  // both are made anew and taken again. FailedPrecondition once another process has the folder, for good; ErrnoStatus's
  // codes when the folder cannot be made again.
  absl::Status Check();
  // Whether the file is there and this one's. Changes nothing.
  bool IsOurs() const;
  // How often Check had to make the file anew.
  int64_t times_begun_anew() const { return times_begun_anew_; }

  // Names the run to others. ErrnoStatus's codes.
  absl::Status SetRunId(const std::string& run_id);
  // To hand down; closed by an exec that does not say otherwise.
  int fd() const;

 private:
  // The open file, and its renewal where it is a lease.
  class Hold;
  RunLock(std::string folder, std::string run_id, RunLockOptions options, std::unique_ptr<Hold> hold);

  static absl::StatusOr<std::unique_ptr<Hold>> TakeHold(const std::string& folder, const std::string& run_id,
                                                        const RunLockOptions& options);
  // From an owner that has left its lease, or does not renew it.
  static absl::StatusOr<std::unique_ptr<Hold>> TakeLeaseOver(const std::string& folder, const std::string& run_id,
                                                             const RunLockOptions& options);

  const std::string folder_;
  std::string run_id_;
  const RunLockOptions options_;
  std::unique_ptr<Hold> hold_;
  int64_t times_begun_anew_ = 0;
  // Another has it.
  bool lost_ = false;
};

}  // namespace grpo

#endif  // GRPO_COMMON_RUN_LOCK_H_
