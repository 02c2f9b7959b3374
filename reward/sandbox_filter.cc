#include "reward/sandbox_filter.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <set>
#include <string>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/status_macros.h"

namespace grpo {
namespace {

// Of memory, threads, time and itself.
constexpr char kOfItself[] =
    "alarm arch_prctl brk clock_getres clock_gettime clock_nanosleep execve exit exit_group futex getcpu getegid "
    "geteuid getgid getgroups getitimer getpgrp getpid getppid getpriority getrandom getresgid getresuid getrlimit "
    "getrusage gettid gettimeofday getuid madvise membarrier mincore mlock mlock2 mmap mprotect mremap msync "
    "munlock munmap nanosleep pause restart_syscall rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigreturn "
    "rt_sigsuspend rt_sigtimedwait sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getparam "
    "sched_getscheduler sched_rr_get_interval sched_yield set_robust_list set_tid_address setitimer setrlimit "
    "sigaltstack sysinfo time timer_create timer_delete timer_getoverrun timer_gettime timer_settime times umask "
    "uname wait4 waitid";

// Of what it has open, and of files without changing them. A pair of sockets has no way to anybody else: stream sockets
// take no address.
constexpr char kOfDescriptors[] =
    "access chdir close close_range copy_file_range dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_pwait "
    "epoll_pwait2 epoll_wait eventfd eventfd2 faccessat faccessat2 fadvise64 fchdir fstat fstatfs getcwd getdents "
    "getdents64 getpeername getsockname getsockopt lseek lstat newfstatat pipe pipe2 poll ppoll pread64 preadv "
    "preadv2 pselect6 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recvfrom recvmsg select "
    "sendfile sendmsg sendto shutdown signalfd signalfd4 stat statfs statx timerfd_create timerfd_gettime "
    "timerfd_settime write writev";

// Of files in its scratch folder.
constexpr char kOfWriting[] =
    "fallocate fdatasync fsync ftruncate mkdir mkdirat open openat rename renameat renameat2 rmdir unlink unlinkat";

// Stands for the process id, which is known after the fork only. Above the largest that Linux gives.
constexpr uint32_t kSelf = 0x7ffffff1;
// The kernel looks at no more of an int.
constexpr uint64_t kInt = 0xffffffff;

// Lets a call through where an argument, under the mask, has the value.
struct Condition {
  const char* call;
  unsigned int argument;
  uint64_t mask, value;
};

constexpr uint64_t kNewNamespaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
                                    static_cast<uint64_t>(CLONE_NEWUSER) | CLONE_NEWPID | CLONE_NEWNET;

const Condition kConditions[] = {
    // Threads, no processes.
    {"clone", 0, kNewNamespaces | CLONE_THREAD, CLONE_THREAD},
    // Of a thread's number nobody can tell whose it is, but the first thread's is the process's.
    {"tkill", 0, kInt, kSelf},
    {"kill", 0, kInt, kSelf},
    {"tgkill", 0, kInt, kSelf},
    {"rt_sigqueueinfo", 0, kInt, kSelf},
    {"rt_tgsigqueueinfo", 0, kInt, kSelf},
    {"prlimit64", 0, kInt, 0},
    {"prlimit64", 0, kInt, kSelf},
    {"sched_setaffinity", 0, kInt, 0},
    {"sched_setaffinity", 0, kInt, kSelf},
    // Not those of locks and leases, nor of who gets a descriptor's signals (F_SETOWN; FIOSETOWN below).
    {"fcntl", 1, kInt, F_DUPFD},
    {"fcntl", 1, kInt, F_DUPFD_CLOEXEC},
    {"fcntl", 1, kInt, F_GETFD},
    {"fcntl", 1, kInt, F_SETFD},
    {"fcntl", 1, kInt, F_GETFL},
    {"fcntl", 1, kInt, F_SETFL},
    {"fcntl", 1, kInt, F_GETPIPE_SZ},
    {"ioctl", 1, kInt, TCGETS},
    {"ioctl", 1, kInt, TIOCGWINSZ},
    {"ioctl", 1, kInt, FIONREAD},
    {"ioctl", 1, kInt, FIONBIO},
    {"ioctl", 1, kInt, FIOCLEX},
    {"ioctl", 1, kInt, FIONCLEX},
    // Not PR_SET_PDEATHSIG: it dies with the server.
    {"prctl", 0, kInt, PR_SET_NAME},
    {"prctl", 0, kInt, PR_GET_NAME},
    {"prctl", 0, kInt, PR_SET_VMA},
    {"prctl", 0, kInt, PR_GET_DUMPABLE},
    {"prctl", 0, kInt, PR_GET_NO_NEW_PRIVS},
};

// O_TRUNC without a mode to write truncates too.
constexpr uint64_t kWrites = O_ACCMODE | O_CREAT | O_TRUNC;
const Condition kReadingConditions[] = {{"open", 1, kWrites, 0}, {"openat", 2, kWrites, 0}};

// From here on all architectures count alike (pidfd_send_signal is the first), and C libraries do without.
constexpr int kFirstNewCall = 424, kLastNewCall = 511;

// Rules of one filter. Keeps the first error; later calls do nothing then.
class Rules {
 public:
  explicit Rules(scmp_filter_ctx context) : context_(context) {
    if (context_ == nullptr) error_ = -ENOMEM;
    Do([&] { return seccomp_attr_set(context_, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS)); });
    // A tree in place of a list: some 8 comparisons a call.
    Do([&] { return seccomp_attr_set(context_, SCMP_FLTATR_CTL_OPTIMIZE, 2); });
  }

  // Names with blanks between.
  void Allow(absl::string_view calls) {
    for (const absl::string_view call : absl::StrSplit(calls, ' ')) AllowWhere(std::string(call), {});
  }
  void Allow(absl::Span<const Condition> conditions) {
    for (const Condition& condition : conditions) {
      AllowWhere(condition.call, {{.arg = condition.argument,
                                   .op = SCMP_CMP_MASKED_EQ,
                                   .datum_a = condition.mask,
                                   .datum_b = condition.value}});
    }
  }
  void AllowWhere(const std::string& call, const std::vector<scmp_arg_cmp>& all_of) {
    const int number = seccomp_syscall_resolve_name(call.c_str());
    // Below 0: not on this architecture, or unknown to an older library.
    if (number < 0) return;
    allowed_.insert(number);
    Do([&] {
      return seccomp_rule_add_array(context_, SCMP_ACT_ALLOW, number, static_cast<unsigned int>(all_of.size()),
                                    all_of.data());
    });
  }
  void HideNewCalls() {
    for (int number = kFirstNewCall; number <= kLastNewCall; ++number) {
      if (allowed_.count(number) > 0) continue;
      Do([&] { return seccomp_rule_add_array(context_, SCMP_ACT_ERRNO(ENOSYS), number, 0, nullptr); });
    }
  }

  absl::Status status() const {
    if (error_ == 0) return absl::OkStatus();
    return absl::InternalError(absl::StrCat("libseccomp cannot make the sandbox's filter: ", std::strerror(-error_)));
  }

 private:
  template <class Call>
  void Do(const Call& call) {
    if (error_ == 0) error_ = call();
  }

  const scmp_filter_ctx context_;
  std::set<int> allowed_;
  // -errno.
  int error_ = 0;
};

absl::StatusOr<std::vector<sock_filter>> Export(scmp_filter_ctx context) {
  const int file = ::memfd_create("sandbox_filter", MFD_CLOEXEC);
  const absl::Cleanup close = [file] { ::close(file); };
  const int exported = file < 0 ? -errno : seccomp_export_bpf(context, file);
  const off_t num_bytes = exported < 0 ? 0 : ::lseek(file, 0, SEEK_END);
  std::vector<sock_filter> filter(static_cast<size_t>(num_bytes) / sizeof(sock_filter));
  if (filter.empty() || ::pread(file, filter.data(), num_bytes, 0) != num_bytes) {
    return absl::InternalError(
        absl::StrCat("cannot export the sandbox's filter: ", std::strerror(exported < 0 ? -exported : errno)));
  }
  return filter;
}

}  // namespace

absl::StatusOr<std::vector<sock_filter>> MakeSandboxFilter(bool may_write) {
  const std::unique_ptr<void, void (*)(scmp_filter_ctx)> context(seccomp_init(SCMP_ACT_ERRNO(EPERM)),
                                                                 [](scmp_filter_ctx made) { seccomp_release(made); });
  Rules rules(context.get());
  rules.Allow(kOfItself);
  rules.Allow(kOfDescriptors);
  rules.Allow(kConditions);
  if (may_write) {
    rules.Allow(kOfWriting);
  } else {
    rules.Allow(kReadingConditions);
  }
  // Datagrams would go to any address; the type's upper bits are flags.
  rules.AllowWhere("socketpair", {{.arg = 0, .op = SCMP_CMP_MASKED_EQ, .datum_a = kInt, .datum_b = AF_UNIX},
                                  {.arg = 1, .op = SCMP_CMP_MASKED_EQ, .datum_a = 0xf, .datum_b = SOCK_STREAM}});
  rules.HideNewCalls();
  RETURN_IF_ERROR(rules.status());
  return Export(context.get());
}

void SetFilterProcess(pid_t process, std::vector<sock_filter>* filter) {
  for (sock_filter& instruction : *filter) {
    if (instruction.code == (BPF_JMP | BPF_JEQ | BPF_K) && instruction.k == kSelf) {
      instruction.k = static_cast<uint32_t>(process);
    }
  }
}

}  // namespace grpo
