// A child process with a log file. It never outlives the thread that started it: the kernel kills it when that thread
// ends.
#ifndef GRPO_TOOLS_GRPOCTL_LOCAL_PROCESS_H_
#define GRPO_TOOLS_GRPOCTL_LOCAL_PROCESS_H_

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace grpo {

// One thread.
class Process {
 public:
  // Runs argv[0] (a path) with stdin from /dev/null and stdout and stderr appended to log_path, in a process group of
  // its own, so that Ctrl-C at the terminal reaches only its parent. `environment` ("NAME=value") is added to this
  // process's own. SIGQUIT is ignored until the child handles it. NotFound or PermissionDenied when argv[0] or the log cannot be used.
  static absl::StatusOr<std::unique_ptr<Process>> Start(const std::vector<std::string>& argv,
                                                        const std::string& log_path,
                                                        const std::vector<std::string>& environment = {});

  // Kills the process group and waits for the child. Blocks until it is gone; what had ended is only reaped.
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  // The exit code, 128+n after signal n; nothing while it runs. Does not wait. Reaps the child.
  std::optional<int> Poll();
  // The same, after waiting at most `timeout`. Nothing when it still runs then.
  std::optional<int> WaitFor(absl::Duration timeout);
  // Sends a signal to the child; nothing happens once it has ended.
  void Signal(int signal_number);

 private:
  explicit Process(pid_t pid) : pid_(pid) {}

  const pid_t pid_;
  // Once it was reaped.
  std::optional<int> exit_code_;
};

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_LOCAL_PROCESS_H_
