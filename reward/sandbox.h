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
  // Working folder. Its files can be read; nothing can be written to a file anywhere.
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

// Starts it with: address space and processor time limited; no new processes (threads are allowed); no files written,
// no core; at most 64 descriptors; no network: no sockets but connected pairs (socketpair), and a network namespace of
// its own where the system allows one; no new privileges; no signals to other processes and no look into their memory;
// death with this process, whichever thread called. Its environment is PATH, HOME (the folder), LANG and
// PYTHONDONTWRITEBYTECODE. What fails before the program runs is the error: NotFound for a program or folder that is
// not there, Internal for anything else. Thread-safe.
absl::StatusOr<SandboxedProcess> StartSandboxed(const SandboxOptions& options);

// Kills it, waits for it, closes the streams. Returns how it ended, in words. Idempotent. Empty for one that has ended
// before. What the program had already come to by itself is what is told.
std::string EndSandboxed(SandboxedProcess* process);

}  // namespace grpo

#endif  // GRPO_REWARD_SANDBOX_H_
