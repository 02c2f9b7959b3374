// What targets need to talk to a cluster's own client.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "common/clock.h"
#include "common/exit_codes.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "common/unix_socket.h"
#include "tools/launch/target.h"

namespace grpo {
namespace {

// Of what a client says; more is cut off.
constexpr size_t kMaxOutputBytes = size_t{1} << 24;
constexpr absl::Duration kPollInterval = absl::Milliseconds(10);

// One of a child's output streams.
struct Stream {
  Descriptor read;
  std::string text;
  bool open = true;
};

// Reads what is there; notices the end.
void ReadSome(Stream& stream) {
  char buffer[1 << 14];
  const ssize_t got = ::read(stream.read.get(), buffer, sizeof(buffer));
  if (got < 0 && errno == EINTR) return;
  if (got <= 0) stream.open = false;
  if (got > 0 && stream.text.size() < kMaxOutputBytes) stream.text.append(buffer, static_cast<size_t>(got));
}

// Until both streams end; false when that takes longer than to `deadline`, a time of Clock::Real.
bool ReadToEnd(Stream& out, Stream& err, absl::Duration deadline) {
  while (out.open || err.open) {
    pollfd waiting[] = {{.fd = out.open ? out.read.get() : -1, .events = POLLIN, .revents = 0},
                        {.fd = err.open ? err.read.get() : -1, .events = POLLIN, .revents = 0}};
    const absl::Duration left = deadline - Clock::Real().Now();
    if (left <= absl::ZeroDuration()) return false;
    ::poll(waiting, 2, static_cast<int>(std::min<int64_t>(absl::ToInt64Milliseconds(left) + 1, 1000)));
    if (waiting[0].revents != 0) ReadSome(out);
    if (waiting[1].revents != 0) ReadSome(err);
  }
  return true;
}

// The child's exit code, 128+n after signal n; killed at the deadline, it has none.
std::optional<int> Await(pid_t pid, absl::Duration deadline) {
  int status = 0;
  while (::waitpid(pid, &status, WNOHANG) != pid) {
    if (Clock::Real().Now() >= deadline) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, &status, 0);
      return std::nullopt;
    }
    absl::SleepFor(kPollInterval);
  }
  return WIFSIGNALED(status) ? kExitSignalBase + WTERMSIG(status) : WEXITSTATUS(status);
}

// With the streams' other ends as stdout and stderr, and nothing to read.
absl::StatusOr<pid_t> Spawn(const std::vector<std::string>& argv, int out_fd, int err_fd) {
  std::vector<char*> words;
  for (const std::string& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  const absl::Cleanup destroy = [&] { ::posix_spawn_file_actions_destroy(&actions); };
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, out_fd, STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, err_fd, STDERR_FILENO);
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, words[0], &actions, nullptr, words.data(), ::environ);
  if (error != 0) return ErrnoStatus(error, "start", argv[0]);
  return pid;
}

}  // namespace

std::string ShellQuoted(absl::string_view word) {
  return absl::StrCat("'", absl::StrReplaceAll(word, {{"'", "'\\''"}}), "'");
}

absl::StatusOr<std::string> FindInPath(const std::string& program) {
  if (program.find('/') != std::string::npos) return program;
  const char* const path = std::getenv("PATH");
  for (const absl::string_view folder : absl::StrSplit(path == nullptr ? "" : path, ':', absl::SkipEmpty())) {
    std::string candidate = absl::StrCat(folder, "/", program);
    std::error_code error;
    if (std::filesystem::is_regular_file(candidate, error) && ::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return absl::NotFoundError(absl::StrCat("there is no program ", program, " in PATH"));
}

absl::StatusOr<std::string> RunClient(const std::vector<std::string>& argv, absl::Duration timeout) {
  std::vector<std::string> words = argv;
  ASSIGN_OR_RETURN(words[0], FindInPath(argv[0]));
  const absl::Duration deadline = Clock::Real().Now() + timeout;
  int out_fds[2], err_fds[2];
  if (::pipe2(out_fds, O_CLOEXEC) != 0) return ErrnoStatus(errno, "make a pipe for", argv[0]);
  Stream out{.read = Descriptor(out_fds[0]), .text = ""};
  Descriptor out_write(out_fds[1]);
  if (::pipe2(err_fds, O_CLOEXEC) != 0) return ErrnoStatus(errno, "make a pipe for", argv[0]);
  Stream err{.read = Descriptor(err_fds[0]), .text = ""};
  Descriptor err_write(err_fds[1]);
  ASSIGN_OR_RETURN(const pid_t pid, Spawn(words, out_write.get(), err_write.get()));
  out_write = Descriptor();
  err_write = Descriptor();
  const bool ended = ReadToEnd(out, err, deadline);
  const std::optional<int> code = Await(pid, ended ? deadline : Clock::Real().Now());
  const std::string command = absl::StrJoin(argv, " ");
  const std::string said(absl::StripAsciiWhitespace(err.text));
  if (!code.has_value()) {
    return absl::DeadlineExceededError(
        absl::StrCat("`", command, "` did not end within ", absl::FormatDuration(timeout), ": ", said));
  }
  if (*code == kExitOk) return out.text;
  return absl::UnavailableError(absl::StrCat("`", command, "` ended with exit code ", *code, ": ", said));
}

}  // namespace grpo
