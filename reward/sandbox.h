// A child process that can do little: for programs that score.
#ifndef GRPO_REWARD_SANDBOX_H_
#define GRPO_REWARD_SANDBOX_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace grpo {

struct SandboxOptions {
  // Program and arguments; looked for in PATH when it holds no slash.
  std::vector<std::string> argv;
  // Working folder.
  std::string folder;
  int64_t memory_bytes = 0;
  // Of processor time over the program's whole life; the kernel kills it then.
  int64_t cpu_seconds = 0;
};

struct SandboxedProcess {
  pid_t pid = -1;
  // Ends of its standard streams, non-blocking and close-on-exec.
  int in = -1, out = -1, error = -1;
};

// Starts it with: address space and processor time limited; no new processes (threads are allowed); no files written,
// no core; at most 64 descriptors; no network: no sockets but those of AF_UNIX, and a network namespace of its own
// where the system allows one; no new privileges; death with the thread that called this, or rather with the server. Of
// the environment it has PATH, HOME and LANG. What fails before the program runs is the error, NotFound for a program
// that is not there. Thread-safe.
absl::StatusOr<SandboxedProcess> StartSandboxed(const SandboxOptions& options);

// Kills it, waits for it, closes the streams. Returns how it ended, in words. Idempotent.
std::string EndSandboxed(SandboxedProcess* process);

}  // namespace grpo

#endif  // GRPO_REWARD_SANDBOX_H_
