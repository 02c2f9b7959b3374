#include "tools/doctor/machine.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <system_error>
#include <thread>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/machine_memory.h"
#include "common/rpc/certificates.h"
#include "reward/sandbox.h"
#include "tools/launch/run_client.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxBytes = 1 << 20;
// Newer than some systems' headers.
constexpr unsigned kLandlockCreateRulesetVersion = 1;

// For one program's answer.
constexpr absl::Duration kPatience = absl::Seconds(10);

using AddressList = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

AddressList Look(const std::string& host, const std::string& service, int flags) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), service.empty() ? nullptr : service.c_str(), &hints, &found);
  return AddressList(error == 0 ? found : nullptr, &::freeaddrinfo);
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
    return FindInPath(program).value_or("");
  }

  absl::StatusOr<std::string> Run(const std::vector<std::string>& argv) const override {
    return RunClient(argv, kPatience);
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
    return rpc::WallTime();
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
