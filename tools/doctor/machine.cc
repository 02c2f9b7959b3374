#include "tools/doctor/machine.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <sched.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <memory>
#include <system_error>
#include <thread>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/files.h"
#include "common/machine_memory.h"
#include "reward/sandbox.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxBytes = 1 << 20;
// Newer than some systems' headers.
constexpr unsigned kLandlockCreateRulesetVersion = 1;

// Of timeout(1), which every command is run by.
constexpr const char* kTimeout[] = {"timeout", "--kill-after=1", "10"};
constexpr int kExitTimedOut = 124, kExitNoProgram = 127;

using AddressList = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

AddressList Look(const std::string& host, const std::string& service, int flags) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), service.empty() ? nullptr : service.c_str(), &hints, &found);
  return AddressList(error == 0 ? found : nullptr, &::freeaddrinfo);
}

// All that comes, as far as it is kept.
std::string ReadToEnd(int fd) {
  std::string text;
  char buffer[4096];
  while (true) {
    const ssize_t got = ::read(fd, buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return text;
    if (static_cast<int64_t>(text.size()) < kMaxBytes) text.append(buffer, static_cast<size_t>(got));
  }
}

// The exit code, or 128 and the signal; -1 when it could not be started. Both streams go to `out`.
int RunToEnd(std::vector<std::string> argv, std::string* out) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return -1;
  const absl::Cleanup close_read = [&] { ::close(ends[0]); };
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
  std::vector<char*> pointers;
  for (std::string& word : argv) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, argv[0].c_str(), &actions, nullptr, pointers.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  if (error != 0) return -1;
  *out = ReadToEnd(ends[0]);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

class RealMachine : public Machine {
 public:
  std::optional<std::string> Read(const std::string& path) const override {
    const absl::StatusOr<std::string> text = ReadFile(path, kMaxBytes);
    if (!text.ok()) return std::nullopt;
    return std::string(absl::StripAsciiWhitespace(*text));
  }

  std::vector<std::string> List(const std::string& folder) const override {
    std::vector<std::string> names;
    std::error_code error;
    for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
      names.push_back(entry->path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
  }

  std::optional<DiskSpace> Space(const std::string& path) const override {
    struct statvfs info = {};
    if (::statvfs(path.c_str(), &info) != 0) return std::nullopt;
    const auto bytes = [&](fsblkcnt_t blocks) { return static_cast<int64_t>(blocks * info.f_frsize); };
    return DiskSpace{.bytes_free = bytes(info.f_bavail),
                     .bytes_total = bytes(info.f_blocks),
                     .inodes_free = static_cast<int64_t>(info.f_favail),
                     .inodes_total = static_cast<int64_t>(info.f_files)};
  }

  std::optional<int64_t> Limit(int resource) const override {
    rlimit limit = {};
    if (::getrlimit(static_cast<__rlimit_resource_t>(resource), &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
      return std::nullopt;
    return static_cast<int64_t>(limit.rlim_cur);
  }

  int64_t NumProcessors() const override {
    cpu_set_t allowed;
    if (::sched_getaffinity(0, sizeof(allowed), &allowed) == 0) return CPU_COUNT(&allowed);
    return std::max(1U, std::thread::hardware_concurrency());
  }

  std::optional<int64_t> MemoryBytes() const override { return MachineMemoryBytes(); }
  std::string SandboxShortfall() const override { return grpo::SandboxShortfall(); }

  int LandlockVersion() const override {
#ifdef SYS_landlock_create_ruleset
    const long version = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, kLandlockCreateRulesetVersion);
    return version > 0 ? static_cast<int>(version) : 0;
#else
    return 0;
#endif
  }

  std::string Which(const std::string& program) const override {
    const char* const path = std::getenv("PATH");
    for (const absl::string_view folder : absl::StrSplit(path == nullptr ? "/usr/bin:/bin" : path, ':')) {
      const std::string candidate = absl::StrCat(folder, "/", program);
      std::error_code error;
      if (fs::is_regular_file(candidate, error) && ::access(candidate.c_str(), X_OK) == 0) return candidate;
    }
    return "";
  }

  absl::StatusOr<std::string> Run(const std::vector<std::string>& argv) const override {
    std::vector<std::string> words(std::begin(kTimeout), std::end(kTimeout));
    words.insert(words.end(), argv.begin(), argv.end());
    std::string out;
    const int code = RunToEnd(std::move(words), &out);
    if (code == 0) return out;
    if (code == kExitNoProgram || code < 0) return absl::NotFoundError(absl::StrCat("there is no ", argv[0]));
    if (code == kExitTimedOut) return absl::DeadlineExceededError(absl::StrCat(argv[0], " says nothing for 10 s"));
    return absl::UnknownError(
        absl::StrCat(argv[0], " ends with exit code ", code, ": ", absl::StripAsciiWhitespace(out)));
  }

  std::string HostName() const override {
    char name[256] = {};
    return ::gethostname(name, sizeof(name) - 1) == 0 ? name : "";
  }

  std::vector<std::string> Resolve(const std::string& host) const override {
    std::vector<std::string> addresses;
    const AddressList found = Look(host, "", 0);
    for (const addrinfo* one = found.get(); one != nullptr; one = one->ai_next) {
      char text[NI_MAXHOST] = {};
      if (::getnameinfo(one->ai_addr, one->ai_addrlen, text, sizeof(text), nullptr, 0, NI_NUMERICHOST) == 0)
        addresses.push_back(text);
    }
    return addresses;
  }

  absl::Status CanBind(const std::string& host, int64_t port) const override {
    const std::string place = absl::StrCat(host, ":", port);
    const AddressList found = Look(host, absl::StrCat(port), AI_PASSIVE | AI_NUMERICSERV);
    if (found == nullptr) return absl::NotFoundError(absl::StrCat("bind to ", place, ": the name does not resolve"));
    const int fd = ::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return ErrnoStatus(errno, "make a socket for", place);
    const absl::Cleanup close_fd = [fd] { ::close(fd); };
    // As servers do: connections of one that has ended are in nobody's way.
    const int on = 1;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (::bind(fd, found->ai_addr, found->ai_addrlen) == 0 && ::listen(fd, 1) == 0) return absl::OkStatus();
    const int error = errno;
    const absl::Status status = ErrnoStatus(error, "bind to", place);
    return error == EADDRINUSE ? absl::AlreadyExistsError(status.message()) : status;
  }

  absl::Time Now() const override {
    return absl::FromTimeT(std::time(nullptr));
  }

  std::optional<bool> ClockIsKept() const override {
    timex state = {};
    const int result = ::adjtimex(&state);
    if (result < 0) return std::nullopt;
    return (state.status & STA_UNSYNC) == 0;
  }
};

}  // namespace

const Machine& ThisMachine() {
  static const auto* const machine = new RealMachine;
  return *machine;
}

}  // namespace grpo
