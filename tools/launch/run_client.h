// Programs of others, such as a cluster's own clients: found, quoted for shells, run to their end. Thread-safe.
#ifndef GRPO_TOOLS_LAUNCH_RUN_CLIENT_H_
#define GRPO_TOOLS_LAUNCH_RUN_CLIENT_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace grpo {

// The program's path: the first executable file of that name in PATH, or the name itself if it has a slash. NotFound.
absl::StatusOr<std::string> FindInPath(const std::string& program);
// How a shell reads `word` as one word that stands for itself.
std::string ShellQuoted(absl::string_view word);
// Runs argv[0], looked for in PATH, and returns what it wrote to stdout. NotFound when there is no such program;
// otherwise errors carry its exit code and what it wrote to stderr. Killed after `timeout`: DeadlineExceeded.
absl::StatusOr<std::string> RunClient(const std::vector<std::string>& argv, absl::Duration timeout);

}  // namespace grpo

#endif  // GRPO_TOOLS_LAUNCH_RUN_CLIENT_H_
