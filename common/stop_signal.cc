#include "common/stop_signal.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "common/clock.h"
#include "common/exit_codes.h"
#include "common/log.h"
#include "common/mapped_file.h"
#include "common/thread_stacks.h"

namespace grpo {
namespace {

std::atomic<bool> stop_requested{false};
// By a signal that may be given twice.
std::atomic<bool> stop_asked{false};
std::atomic<int64_t> num_quits{0};
std::atomic<int64_t> stop_bound_ms{absl::ToInt64Milliseconds(kDefaultStopBound)};
constexpr unsigned kSecondsToSayWhy = 4;
// Written by handlers. The first is never read: once readable it stays so, and every waiter wakes. The second wakes the
// thread below, for a quit or another bound.
int stop_pipe[2] = {-1, -1}, watch_pipe[2] = {-1, -1};

void Wake(int fd) {
  const char byte = 0;
  [[maybe_unused]] const ssize_t written = ::write(fd, &byte, 1);
}

void OnStop(int signal_number) {
  if (signal_number != SIGHUP && stop_asked.exchange(true)) ::_exit(kExitSignalBase + signal_number);
  if (!stop_requested.exchange(true)) Wake(stop_pipe[1]);
}

void OnQuit(int) {
  num_quits.fetch_add(1);
  Wake(watch_pipe[1]);
}

// The write that it interrupts returns EFBIG. No SIG_IGN, which programs that this process starts would inherit.
void OnFileTooLarge(int) {}

// Of the bound; rounded up, and an hour at most, so that it fits.
int MillisecondsLeft(absl::Duration stopped_at) {
  const absl::Duration left = stopped_at + absl::Milliseconds(stop_bound_ms.load()) - Clock::Real().Now();
  if (left <= absl::ZeroDuration()) return 0;
  constexpr int64_t kMostAtATime = 3'600'000;
  return static_cast<int>(std::min(kMostAtATime, absl::ToInt64Milliseconds(left) + 1));
}

void Handle(int signal_number, void (*handler)(int), int flags) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  ::sigemptyset(&action.sa_mask);
  ::sigaction(signal_number, &action, nullptr);
}

[[noreturn]] void EndByForce() {
  // The log itself may be what everything waits for.
  Handle(
      SIGALRM, [](int) { ::_exit(kExitRetry); }, 0);
  ::alarm(kSecondsToSayWhy);
  spdlog::error("did not end within {} s of the stop, and ends now without what it was doing",
                absl::ToDoubleSeconds(absl::Milliseconds(stop_bound_ms.load())));
  // A line of its own: where there are many threads, their stacks may take longer than there is time.
  spdlog::error("what every thread is doing\n{}", ThreadStacks());
  ::_exit(kExitRetry);
}

// The thread: waits for quits, and from the first stop on for the bound.
void Watch() {
  bool stopped = false;
  absl::Duration stopped_at;
  int64_t quits_told = 0;
  while (true) {
    // Which is left out once it is readable for ever.
    pollfd waiting[2] = {{.fd = watch_pipe[0], .events = POLLIN, .revents = 0},
                         {.fd = stopped ? -1 : stop_pipe[0], .events = POLLIN, .revents = 0}};
    ::poll(waiting, 2, stopped ? MillisecondsLeft(stopped_at) : -1);
    char bytes[64];
    while (::read(watch_pipe[0], bytes, sizeof(bytes)) > 0) continue;
    if (!stopped && StopRequested()) {
      stopped = true;
      stopped_at = Clock::Real().Now();
    }
    if (const int64_t quits = num_quits.load(); quits > quits_told) {
      quits_told = quits;
      spdlog::info("SIGQUIT: what every thread is doing\n{}", ThreadStacks());
    }
    if (stopped && MillisecondsLeft(stopped_at) == 0) EndByForce();
  }
}

bool IsIgnored(int signal_number) {
  struct sigaction now = {};
  return ::sigaction(signal_number, nullptr, &now) == 0 && now.sa_handler == SIG_IGN;
}

}  // namespace

void InstallStopSignal(const StopOptions& options) {
  if (options.die_with_parent) ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (int* const pipe : {stop_pipe, watch_pipe}) {
    [[maybe_unused]] const int made = ::pipe2(pipe, O_CLOEXEC | O_NONBLOCK);
  }
  InstallThreadStacks();
  InstallFileSignals();
  // Those that stop end a wait that is under way: no SA_RESTART.
  for (const int signal_number : {SIGTERM, SIGINT}) Handle(signal_number, OnStop, 0);
  if (options.hang_up_stops && !IsIgnored(SIGHUP)) Handle(SIGHUP, OnStop, 0);
  Handle(SIGQUIT, OnQuit, SA_RESTART);
  ::signal(SIGPIPE, SIG_IGN);
  // Lives as long as the process.
  std::thread(Watch).detach();
}

void InstallFileSignals() {
  InstallSigbusHandler();
  Handle(SIGXFSZ, OnFileTooLarge, SA_RESTART);
}

void SetStopBound(absl::Duration bound) {
  stop_bound_ms.store(absl::ToInt64Milliseconds(bound));
  Wake(watch_pipe[1]);
}

bool StopRequested() {
  return stop_requested.load();
}

bool WaitForStop(absl::Duration timeout) {
  pollfd waiting = {.fd = stop_pipe[0], .events = POLLIN, .revents = 0};
  ::poll(&waiting, 1, static_cast<int>(absl::ToInt64Milliseconds(timeout)));
  return StopRequested();
}

int64_t NumQuitSignals() {
  return num_quits.load();
}

}  // namespace grpo
