#include "common/stop_signal.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <atomic>

#include "common/exit_codes.h"

namespace grpo {
namespace {

std::atomic<bool> stop_requested{false};
// Written by the handler, never read: once readable it stays so, and every waiter wakes.
int wake_pipe[2] = {-1, -1};

void OnSignal(int signal_number) {
  if (stop_requested.exchange(true)) ::_exit(kExitSignalBase + signal_number);
  const char byte = 0;
  [[maybe_unused]] const ssize_t written = ::write(wake_pipe[1], &byte, 1);
}

}  // namespace

void InstallStopSignal(bool die_with_parent) {
  if (die_with_parent) ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  [[maybe_unused]] const int made = ::pipe2(wake_pipe, O_CLOEXEC | O_NONBLOCK);
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  ::sigaction(SIGTERM, &action, nullptr);
  ::sigaction(SIGINT, &action, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
}

bool StopRequested() {
  return stop_requested.load();
}

bool WaitForStop(absl::Duration timeout) {
  pollfd waiting = {.fd = wake_pipe[0], .events = POLLIN, .revents = 0};
  ::poll(&waiting, 1, static_cast<int>(absl::ToInt64Milliseconds(timeout)));
  return StopRequested();
}

}  // namespace grpo
