#include "tools/doctor/folder_probe.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "absl/cleanup/cleanup.h"
#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/clock.h"
#include "common/files.h"
#include "common/status_macros.h"

namespace grpo {
namespace {

constexpr int kNumLines = 200, kLineBytes = 64;

// A process that calls `body` and ends with what that returns. `body` makes system calls and nothing else: other
// threads of this process may hold locks. -1 when there is none.
pid_t StartChild(absl::FunctionRef<int()> body) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(body());
  return pid;
}

// Its exit code; -1 for any other end.
int EndOf(pid_t pid) {
  int status = 0;
  if (pid < 0) return -1;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// Child: appends lines of one letter. 0, or 1 for an error.
int AppendLines(const char* path, char letter) {
  const int fd = ::open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
  if (fd < 0) return 1;
  char line[kLineBytes];
  std::memset(line, letter, sizeof(line));
  line[kLineBytes - 1] = '\n';
  for (int i = 0; i < kNumLines; ++i) {
    if (::write(fd, line, sizeof(line)) != kLineBytes) return 1;
  }
  return ::close(fd) == 0 ? 0 : 1;
}

// Child: whether the file holds just this.
int HoldsJust(const char* path, const char* text, size_t size) {
  char buffer[256];
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  const ssize_t got = fd < 0 ? -1 : ::read(fd, buffer, sizeof(buffer));
  return got == static_cast<ssize_t>(size) && std::memcmp(buffer, text, size) == 0 ? 0 : 1;
}

// Child's exit codes.
constexpr int kGotLock = 0, kLockIsTaken = 3, kNoLocks = 4;

int TryLock(const char* path) {
  const int fd = ::open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return 1;
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return kGotLock;
  return errno == EWOULDBLOCK ? kLockIsTaken : errno == ENOLCK || errno == EOPNOTSUPP || errno == ENOSYS ? kNoLocks : 1;
}

}  // namespace

absl::Status ProbeRename(const std::string& folder) {
  const std::string to = folder + "/rename", from = to + ".new";
  RETURN_IF_ERROR(WriteFileSynced(to, "old"));
  RETURN_IF_ERROR(WriteFileSynced(from, "new"));
  RETURN_IF_ERROR(Rename(from, to));
  ASSIGN_OR_RETURN(const std::string content, ReadFile(to));
  if (content != "new") return absl::DataLossError(absl::StrCat("after a rename the file holds \"", content, "\""));
  return absl::OkStatus();
}

absl::StatusOr<absl::Duration> ProbeSync(const std::string& folder) {
  const Clock& clock = Clock::Real();
  const absl::Duration begin = clock.Now();
  RETURN_IF_ERROR(WriteFileSynced(folder + "/sync", std::string(1 << 16, 's')));
  RETURN_IF_ERROR(SyncFolder(folder));
  return clock.Now() - begin;
}

absl::Status ProbeAppend(const std::string& folder) {
  const std::string path = folder + "/append";
  RETURN_IF_ERROR(WriteFileSynced(path, ""));
  std::array<pid_t, 2> children;
  for (size_t i = 0; i < children.size(); ++i)
    children[i] = StartChild([&] { return AppendLines(path.c_str(), static_cast<char>('a' + i)); });
  bool wrote = true;
  for (const pid_t child : children) wrote = EndOf(child) == 0 && wrote;
  if (!wrote) return absl::InternalError("a process that appends to a file fails");
  ASSIGN_OR_RETURN(const std::string content, ReadFile(path));
  int whole = 0;
  for (const absl::string_view line : absl::StrSplit(content, '\n', absl::SkipEmpty()))
    whole += line == std::string(kLineBytes - 1, line[0]) ? 1 : 0;
  const int expected = kNumLines * static_cast<int>(children.size());
  if (whole == expected) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("of ", expected, " lines that two processes appended ", whole, " are whole"));
}

absl::Status ProbeVisibility(const std::string& folder) {
  const std::string path = folder + "/visible";
  for (const char* const text : {"first", "the second one"}) {
    RETURN_IF_ERROR(WriteFileAtomically(path, text));
    const int code = EndOf(StartChild([&] { return HoldsJust(path.c_str(), text, std::strlen(text)); }));
    if (code != 0) return absl::DataLossError("another process does not read what was written and closed");
  }
  return absl::OkStatus();
}

absl::StatusOr<Locking> ProbeLock(const std::string& folder) {
  const std::string path = folder + "/lock";
  RETURN_IF_ERROR(WriteFileSynced(path, ""));
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, "open", path);
  const absl::Cleanup close_fd = [fd] { ::close(fd); };
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno == ENOLCK || errno == EOPNOTSUPP || errno == ENOSYS) return Locking::kUnsupported;
    return ErrnoStatus(errno, "lock", path);
  }
  const int while_held = EndOf(StartChild([&] { return TryLock(path.c_str()); }));
  if (while_held == kNoLocks) return Locking::kUnsupported;
  if (::flock(fd, LOCK_UN) != 0) return ErrnoStatus(errno, "unlock", path);
  const int when_free = EndOf(StartChild([&] { return TryLock(path.c_str()); }));
  return while_held == kLockIsTaken && when_free == kGotLock ? Locking::kHolds : Locking::kDoesNotHold;
}

absl::StatusOr<absl::Duration> ProbeClock(const std::string& folder, absl::Time now) {
  const std::string path = folder + "/clock";
  RETURN_IF_ERROR(WriteFileSynced(path, "x"));
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, "stat", path);
  return absl::TimeFromTimespec(info.st_mtim) - now;
}

}  // namespace grpo
