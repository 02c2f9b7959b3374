// Asks the kernel directly for what other threads also ask the C library for: in the copy of a process with threads a
// lock may be held for ever, the library's or a sanitizer's.
#include "reward/sandbox_child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "reward/sandbox_filter.h"

namespace grpo {
namespace {

constexpr rlim_t kMaxDescriptors = 64;

int Open(const char* path, int flags, int mode = 0) {
  return static_cast<int>(::syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, mode));
}

void Limit(int resource, int64_t limit) {
  const rlimit limits = {.rlim_cur = static_cast<rlim_t>(limit), .rlim_max = static_cast<rlim_t>(limit)};
  ::setrlimit(resource, &limits);
}

// A session of its own: no terminal is left to read from or to type into.
bool TakeStreams(const SandboxPlan& plan) {
  ::setsid();
  const int streams[] = {plan.in, plan.out, plan.error};
  for (int i = 0; i < 3; ++i) {
    if (::syscall(SYS_dup3, streams[i], i, 0) < 0) return false;
  }
  if (::syscall(SYS_dup3, plan.report, 3, O_CLOEXEC) < 0) return false;
  return ::syscall(SYS_close_range, 4U, ~0U, 0U) == 0;
}

// SIGPIPE may be ignored in the server, and any signal blocked in the thread that started this.
void ResetSignals() {
  // The kernel's struct, which no header has: handler, flags, restorer, mask.
  const uint64_t by_default[4] = {};
  ::syscall(SYS_rt_sigaction, SIGPIPE, by_default, nullptr, sizeof(uint64_t));
  const uint64_t none = 0;
  ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, sizeof(none));
}

bool WriteTo(const char* path, const char* text) {
  const int file = Open(path, O_WRONLY);
  if (file < 0) return false;
  const auto size = static_cast<long>(std::strlen(text));
  const bool written = ::syscall(SYS_write, file, text, size) == size;
  const int error = errno;
  ::syscall(SYS_close, file);
  errno = error;
  return written;
}

// Users are who they were, so that files are whose they were; what a root may do, only within.
bool MapUser(const SandboxPlan& plan) {
  return WriteTo("/proc/self/setgroups", "deny") && WriteTo("/proc/self/gid_map", plan.group_map.c_str()) &&
         WriteTo("/proc/self/uid_map", plan.user_map.c_str());
}

// What programs expect in /dev, and nothing to write to that anybody sees. Relative paths are the machine's /dev.
bool MakeDevices() {
  if (::syscall(SYS_chdir, "/dev") != 0) return false;
  if (::mount("tmpfs", "/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755,size=64k,nr_inodes=32") != 0) return false;
  // Absolute, and behind the slash the machine's.
  for (const char* path : {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}) {
    const int file = Open(path, O_WRONLY | O_CREAT, 0600);
    if (file < 0) return false;
    ::syscall(SYS_close, file);
    if (::mount(path + std::strlen("/dev/"), path, nullptr, MS_BIND, nullptr) != 0) return false;
  }
  // Files of others, and perhaps the program's own folder.
  if (::mkdirat(AT_FDCWD, "/dev/shm", 0755) != 0) return false;
  [[maybe_unused]] const int shown = ::mount("shm", "/dev/shm", nullptr, MS_BIND | MS_REC, nullptr);
  for (const auto& [to, from] :
       {std::pair("/proc/self/fd", "/dev/fd"), std::pair("/proc/self/fd/0", "/dev/stdin"),
        std::pair("/proc/self/fd/1", "/dev/stdout"), std::pair("/proc/self/fd/2", "/dev/stderr")}) {
    if (::symlinkat(to, AT_FDCWD, from) != 0) return false;
  }
  return ::mkdirat(AT_FDCWD, kSandboxScratch, 0700) == 0;
}

bool MakeMounts() {
  if (::unshare(CLONE_NEWNS) != 0) return false;
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 || !MakeDevices()) return false;
  // Where part of /proc is covered, as in many containers, only an empty one is to be had.
  constexpr unsigned long kNothingRuns = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (::mount("proc", "/proc", "proc", kNothingRuns, nullptr) != 0 &&
      ::mount("tmpfs", "/proc", "tmpfs", kNothingRuns, "mode=0555,size=4k,nr_inodes=2") != 0) {
    return false;
  }
  mount_attr read_only = {};
  read_only.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID;
  if (::syscall(SYS_mount_setattr, AT_FDCWD, "/", AT_RECURSIVE, &read_only, sizeof(read_only)) != 0) return false;
  static_assert(kSandboxScratchBytes == 16 << 20);
  return ::mount("tmpfs", kSandboxScratch, "tmpfs", kNothingRuns, "mode=0700,size=16m,nr_inodes=1024") == 0;
}

bool EnterNamespaces(const SandboxPlan& plan) {
  const SandboxParts& parts = plan.parts;
  if (parts.user && !MapUser(plan)) return false;
  if (parts.namespaces && ::unshare(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) != 0) return false;
  return !parts.mounts || MakeMounts();
}

// Newer than Debian's header: from these versions of Landlock on.
//   3: truncating; 4: TCP; 5: devices' ioctl; 6: signals, and sockets with abstract names.
constexpr uint64_t kTruncate = 1 << 14, kDeviceControl = 1 << 15;
constexpr uint64_t kBindAndConnect = 3, kSocketsAndSignals = 3;
constexpr uint64_t kOldest = LANDLOCK_ACCESS_FS_REFER - 1;
constexpr uint64_t kRead = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
// What there is to allow for a file that is no folder.
constexpr uint64_t kOfFile = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE;
constexpr uint64_t kScratch = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR |
                              LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
                              LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR |
                              LANDLOCK_ACCESS_FS_MAKE_REG;

// landlock_ruleset_attr with the fields of later versions; an older kernel takes them as long as they are 0.
struct RulesetAttributes {
  uint64_t files, network, scoped;
};

// What is not there need not be allowed.
void AllowBeneath(int ruleset, const char* path, uint64_t access) {
  landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = Open(path, O_PATH)};
  if (rule.parent_fd < 0) return;
  if (::syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0 && errno == EINVAL) {
    rule.allowed_access &= kOfFile;
    ::syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
  }
  ::syscall(SYS_close, static_cast<int>(rule.parent_fd));
}

bool ConfineFiles(const SandboxPlan& plan) {
  const int version = plan.parts.landlock;
  if (version == 0) return true;
  RulesetAttributes handled = {.files = kOldest, .network = 0, .scoped = 0};
  if (version >= 2) handled.files |= LANDLOCK_ACCESS_FS_REFER;
  if (version >= 3) handled.files |= kTruncate;
  if (version >= 4) handled.network = kBindAndConnect;
  if (version >= 5) handled.files |= kDeviceControl;
  if (version >= 6) handled.scoped = kSocketsAndSignals;
  const int ruleset = static_cast<int>(::syscall(SYS_landlock_create_ruleset, &handled, sizeof(handled), 0));
  if (ruleset < 0) return false;
  if (plan.parts.mounts) {
    AllowBeneath(ruleset, "/", kRead);
    // Both within it: what else is allowed adds up.
    AllowBeneath(ruleset, "/dev/null", LANDLOCK_ACCESS_FS_WRITE_FILE);
    AllowBeneath(ruleset, kSandboxScratch, kScratch | (version >= 3 ? kTruncate : 0));
  } else {
    for (const std::string& path : plan.readable) AllowBeneath(ruleset, path.c_str(), kRead);
  }
  const bool confined = ::syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
  const int error = errno;
  ::syscall(SYS_close, ruleset);
  errno = error;
  return confined;
}

// Those in a user namespace of its own too: with them it could undo the mounts.
bool DropCapabilities() {
  // Until one that the kernel does not know; all fail where there is no power to drop them, and none to drop.
  for (int capability = 0; ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0; ++capability) {
  }
  __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  const __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
  return ::syscall(SYS_capset, &header, none) == 0;
}

void LimitResources(const SandboxPlan& plan) {
  Limit(RLIMIT_CORE, 0);
  Limit(RLIMIT_FSIZE, plan.parts.may_write() ? kSandboxScratchBytes : 0);
  Limit(RLIMIT_NOFILE, kMaxDescriptors);
  Limit(RLIMIT_AS, plan.memory_bytes);
  Limit(RLIMIT_CPU, plan.cpu_seconds);
}

// The error number; 0 when there is no program to become.
int Become(SandboxPlan* plan) {
  if (!TakeStreams(*plan)) return errno;
  ResetSignals();
  if (!EnterNamespaces(*plan)) return errno;
  if (::syscall(SYS_chdir, plan->folder.c_str()) != 0) return errno;
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || !ConfineFiles(*plan) || !DropCapabilities()) return errno;
  LimitResources(*plan);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  SetFilterProcess(static_cast<pid_t>(::syscall(SYS_getpid)), &plan->filter);
  const sock_fprog filter = {.len = static_cast<unsigned short>(plan->filter.size()), .filter = plan->filter.data()};
  if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) return errno;
  if (plan->paths.empty()) return 0;
  int error = ENOENT;
  for (const std::string& path : plan->paths) {
    ::syscall(SYS_execve, path.c_str(), plan->argv.data(), plan->environment.data());
    if (errno != ENOENT) error = errno;
  }
  return error;
}

}  // namespace

uint64_t SandboxCloneFlags(const SandboxParts& parts) {
  // The others are left to the child: to make a network takes milliseconds, during which no other child could start.
  return (parts.user ? static_cast<uint64_t>(CLONE_NEWUSER) : 0) | (parts.namespaces ? CLONE_NEWPID : 0);
}

int LandlockVersion() {
  const long version = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  return version > 0 ? static_cast<int>(version) : 0;
}

void BecomeProgram(SandboxPlan* plan) {
  const int error = Become(plan);
  ::syscall(SYS_write, 3, &error, sizeof(error));
  while (true) ::syscall(SYS_exit_group, 127);
}

}  // namespace grpo
