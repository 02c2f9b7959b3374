#include "tools/grpoctl/local/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/time/clock.h"
#include "common/exit_codes.h"
#include "common/files.h"

namespace grpo {
namespace {

// Runs in the child between fork and exec: async-signal-safe calls only. Writes errno to error_fd when it cannot go on.
[[noreturn]] void ExecChild(char* const* argv, char* const* environment, int log_fd, int error_fd, int inherited_fd,
                            pid_t parent) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // The parent may have died before the line above.
  if (::getppid() != parent) ::_exit(127);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
  // Until it has a handler, which tells what its threads wait for, the question would end it.
  ::signal(SIGQUIT, SIG_IGN);
  if (inherited_fd >= 0) ::fcntl(inherited_fd, F_SETFD, 0);
  const int null_fd = ::open("/dev/null", O_RDONLY);
  if (null_fd >= 0 && ::dup2(null_fd, 0) >= 0 && ::dup2(log_fd, 1) >= 0 && ::dup2(log_fd, 2) >= 0)
    ::execve(argv[0], argv, environment);
  const int error = errno;
  [[maybe_unused]] const ssize_t written = ::write(error_fd, &error, sizeof(error));
  ::_exit(127);
}

// What exec wants: pointers into `texts`, which must outlive them, and a null.
std::vector<char*> Pointers(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (const std::string& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// The first of two definitions counts, so the additions come first.
std::vector<std::string> WithOwnEnvironment(std::vector<std::string> additions) {
  for (char** variable = ::environ; *variable != nullptr; ++variable) additions.emplace_back(*variable);
  return additions;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Process>> Process::Start(const std::vector<std::string>& argv,
                                                        const std::string& log_path,
                                                        const std::vector<std::string>& environment, int inherited_fd,
                                                        const KillBy& kill_by) {
  const int log_fd = ::open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (log_fd < 0) return ErrnoStatus(errno, "open", log_path);
  const absl::Cleanup close_log = [log_fd] { ::close(log_fd); };
  int error_pipe[2];
  if (::pipe2(error_pipe, O_CLOEXEC) != 0) return ErrnoStatus(errno, "make a pipe for", argv[0]);
  const absl::Cleanup close_read = [&] { ::close(error_pipe[0]); };

  const std::vector<std::string> whole_environment = WithOwnEnvironment(environment);
  const std::vector<char*> arguments = Pointers(argv), variables = Pointers(whole_environment);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) ExecChild(arguments.data(), variables.data(), log_fd, error_pipe[1], inherited_fd, parent);
  const int fork_error = errno;
  ::close(error_pipe[1]);
  if (pid < 0) return ErrnoStatus(fork_error, "fork for", argv[0]);

  // Closed without a byte by a successful exec.
  int exec_error = 0;
  ssize_t got;
  do {
    got = ::read(error_pipe[0], &exec_error, sizeof(exec_error));
  } while (got < 0 && errno == EINTR);
  if (got > 0) {
    ::waitpid(pid, nullptr, 0);
    return ErrnoStatus(exec_error, "start", argv[0]);
  }
  return std::unique_ptr<Process>(new Process(pid, kill_by));
}

Process::~Process() {
  Kill();
  if (kill_by_.signal_number != SIGKILL) WaitFor(kill_by_.patience);
  if (Poll().has_value()) return;
  // A go-between's group may hold what cleans up behind it (srun's second process): it alone is killed.
  if (kill_by_.signal_number != SIGKILL) ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void Process::Kill() {
  if (std::exchange(kill_sent_, true) || Poll().has_value()) return;
  ::kill(kill_by_.signal_number == SIGKILL ? -pid_ : pid_, kill_by_.signal_number);
}

std::optional<int> Process::Poll() {
  if (exit_code_.has_value()) return exit_code_;
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
  exit_code_ = WIFSIGNALED(status) ? kExitSignalBase + WTERMSIG(status) : WEXITSTATUS(status);
  return exit_code_;
}

std::optional<int> Process::WaitFor(absl::Duration timeout) {
  constexpr absl::Duration kPollInterval = absl::Milliseconds(10);
  for (absl::Duration left = timeout; !Poll().has_value() && left > absl::ZeroDuration(); left -= kPollInterval) {
    absl::SleepFor(std::min(kPollInterval, left));
  }
  return Poll();
}

void Process::Signal(int signal_number) {
  // An exited child keeps its pid until Poll reaps it, so the signal cannot reach a stranger.
  if (!exit_code_.has_value()) ::kill(pid_, signal_number);
}

}  // namespace grpo
