// Whether a file system keeps what a run relies on, tried out in a scratch folder. What needs a second process has one,
// which makes system calls and nothing else. Blocks for what the file system takes. One thread.
#ifndef GRPO_TOOLS_DOCTOR_FOLDER_PROBE_H_
#define GRPO_TOOLS_DOCTOR_FOLDER_PROBE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace grpo {

// In each of these `folder` exists, is empty but for other probes' files, and may be written. Errors: DataLoss for a
// promise that is not kept, with what came instead; ErrnoStatus's codes for a system call that fails.

// A rename replaces what was there, and a reader sees the new content at once.
absl::Status ProbeRename(const std::string& folder);
// fsync of a file and of its folder; how long both took together.
absl::StatusOr<absl::Duration> ProbeSync(const std::string& folder);
// Two processes that append to one file at the same time lose nothing and cut nothing.
absl::Status ProbeAppend(const std::string& folder);
// What was written and closed is what another process reads.
absl::Status ProbeVisibility(const std::string& folder);

enum class Locking { kHolds, kUnsupported, kDoesNotHold };
// flock between two processes of this machine.
absl::StatusOr<Locking> ProbeLock(const std::string& folder);

// How far the file system's clock, by the time of a new file, is ahead of `now`.
absl::StatusOr<absl::Duration> ProbeClock(const std::string& folder, absl::Time now);

}  // namespace grpo

#endif  // GRPO_TOOLS_DOCTOR_FOLDER_PROBE_H_
