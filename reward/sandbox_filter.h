// Which system calls a program in the sandbox may make: a list of what it may, not of what it may not.
#ifndef GRPO_REWARD_SANDBOX_FILTER_H_
#define GRPO_REWARD_SANDBOX_FILTER_H_

#include <linux/filter.h>
#include <sys/types.h>

#include <vector>

#include "absl/status/statusor.h"

namespace grpo {

// A seccomp filter for this machine's architecture, with a placeholder for the program's process id. What it lets
// through reaches the program itself, or reads: memory and threads, files for reading, pipes, connected pairs of
// sockets, time. Signals, limits and processors are its own to send or set, by its process id. All else is EPERM; calls
// newer than the oldest kernel that a C library still runs on are ENOSYS, so that the library does without.
//   may_write: lets it open files for writing, and make, rename and remove them; for a program that Landlock keeps in
//   one folder. What changes a file by its path or owner otherwise (truncate, chmod, chown, utime, attributes) and
//   locks, by which it could make others wait, are refused in either case.
// Internal when libseccomp fails. Any thread; allocates.
absl::StatusOr<std::vector<sock_filter>> MakeSandboxFilter(bool may_write);

// Puts the process id where the filter asks for it. Allocates nothing.
void SetFilterProcess(pid_t process, std::vector<sock_filter>* filter);

}  // namespace grpo

#endif  // GRPO_REWARD_SANDBOX_FILTER_H_
