// A child process with a log file. It never outlives the thread that started it: the kernel kills it when that thread
// ends.
#ifndef GRPO_TOOLS_GRPOCTL_LOCAL_PROCESS_H_
#define GRPO_TOOLS_GRPOCTL_LOCAL_PROCESS_H_

#include <signal.h>
#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace grpo {

// How a process is ended that does not end by itself.
struct KillBy {
  // SIGKILL goes to the process group. Anything else goes to the child alone, which is a go-between (Starter,
  // tools/launch/run_plan.h): it kills what it started elsewhere and ends after that.
  int signal_number = SIGKILL;
  // How long a go-between is given before SIGKILL.
  absl::Duration patience = absl::Seconds(40);
};

// One thread.
class Process {
 public:
  // Runs argv[0] (a path) with stdin from /dev/null and stdout and stderr appended to log_path, in a process group of
  // its own, so that Ctrl-C at the terminal reaches only its parent. `environment` ("NAME=value") is added to this
  // process's own. The child inherits stdin, stdout and stderr, and `inherited_fd` under its own number unless that is
  // -1. SIGQUIT is ignored until the child handles it. NotFound or PermissionDenied when argv[0] or the log cannot be
  // used.
  static absl::StatusOr<std::unique_ptr<Process>> Start(const std::vector<std::string>& argv,
                                                        const std::string& log_path,
                                                        const std::vector<std::string>& environment = {},
                                                        int inherited_fd = -1, const KillBy& kill_by = {});

  // Kill, and waits for the child. Blocks until it is gone; what had ended is only reaped.
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
  // Sends what KillBy says, without waiting: of several, all end at a time. Once.
  void Kill();

 private:
  Process(pid_t pid, const KillBy& kill_by) : pid_(pid), kill_by_(kill_by) {}

  const pid_t pid_;
  const KillBy kill_by_;
  bool kill_sent_ = false;
  // Once it was reaped.
  std::optional<int> exit_code_;
};

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_LOCAL_PROCESS_H_
