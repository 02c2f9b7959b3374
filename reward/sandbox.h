// A child process that can do little: for programs that score.
#ifndef GRPO_REWARD_SANDBOX_H_
#define GRPO_REWARD_SANDBOX_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace grpo {

// What to run, and how much of the machine it gets.
struct SandboxOptions {
  // Program and arguments; looked for in PATH when it holds no slash. Not empty.
  std::vector<std::string> argv;
  // Working folder. Its files can be read, and not changed.
  std::string folder;
  // Of address space, libraries and thread stacks included.
  int64_t memory_bytes = 0;
  // Of processor time over the program's whole life; the kernel kills it then.
  int64_t cpu_seconds = 0;
};

// Plain numbers: who holds it calls EndSandboxed.
struct SandboxedProcess {
  // -1 once it has ended.
  pid_t pid = -1;
  // Ends of its standard streams, non-blocking and close-on-exec.
  int in = -1, out = -1, error = -1;
};

// Starts it with what every machine gives: address space and processor time limited; no core; at most 64 descriptors;
// no new privileges, and none of a root's; the system calls that a program needs for itself and no others
// (reward/sandbox_filter.h): no new processes (threads are allowed), no sockets but connected pairs, no signals, limits
// or tracing but its own, no file changed, nothing locked; a session of its own; death with this process, whichever
// thread called. With what most machines give (SandboxShortfall says what this one does not): namespaces of its own,
// where there is no other process and no network; a file system that is read-only but for 16 MiB in memory, which
// TMPDIR names; Landlock, which keeps it from writing elsewhere a second time.
// It reads what the user of this process may read. Its environment is PATH, HOME (the folder), LANG,
// PYTHONDONTWRITEBYTECODE and, where it may write, TMPDIR. What fails before the program runs is the error: NotFound
// for a program or folder that is not there, Internal for anything else. Thread-safe.
absl::StatusOr<SandboxedProcess> StartSandboxed(const SandboxOptions& options);

// Kills it, waits for it, closes the streams. Returns how it ended, in words. Idempotent. Empty for one that has ended
// before. What the program had already come to by itself is what is told.
std::string EndSandboxed(SandboxedProcess* process);

// What this machine does not give of the above, in words, and what follows; empty when it gives all. The same at every
// call; the first one tries it out, with child processes. Thread-safe.
std::string SandboxShortfall();

}  // namespace grpo

#endif  // GRPO_REWARD_SANDBOX_H_
