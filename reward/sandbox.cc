#include "reward/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"

namespace grpo {
namespace {

constexpr rlim_t kMaxDescriptors = 64;

#if defined(__x86_64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
#error "reward/sandbox.cc knows the system calls of x86_64 and aarch64 only"
#endif

#define REFUSE(error_number) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ((error_number)&SECCOMP_RET_DATA))
#define REFUSE_CALL(name, error_number) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, 0, 1), REFUSE(error_number)

// No new processes, no sockets, and nothing that reaches into other processes or past this filter.
const sock_filter kFilter[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kArchitecture, 1, 0),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
    // The other numbering of x86_64 (x32).
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1),
    REFUSE(ENOSYS),
#ifdef __NR_fork
    REFUSE_CALL(fork, EAGAIN),
    REFUSE_CALL(vfork, EAGAIN),
#endif
    // The C library then asks by clone, whose flags can be seen.
    REFUSE_CALL(clone3, ENOSYS),
    REFUSE_CALL(socket, EACCES),
    REFUSE_CALL(io_uring_setup, ENOSYS),
    REFUSE_CALL(ptrace, EPERM),
    REFUSE_CALL(process_vm_readv, EPERM),
    REFUSE_CALL(process_vm_writev, EPERM),
    REFUSE_CALL(kill, EPERM),
    REFUSE_CALL(pidfd_open, EPERM),
    REFUSE_CALL(unshare, EPERM),
    REFUSE_CALL(setns, EPERM),
    REFUSE_CALL(mount, EPERM),
    REFUSE_CALL(bpf, EPERM),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_clone, 0, 3),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[0])),
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 1, 0),
    REFUSE(EAGAIN),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

// What the child needs, made before the fork: between it and exec nothing may allocate or lock.
struct Plan {
  std::vector<std::string> paths, variables;
  std::vector<char*> argv, environment;
  const SandboxOptions* options;
  int in, out, error, report;
};

void Limit(int resource, rlim_t limit) {
  const rlimit limits = {.rlim_cur = limit, .rlim_max = limit};
  ::setrlimit(resource, &limits);
}

// Runs in the child. Returns only on failure; errno says why.
void BecomeProgram(const Plan& plan) {
  ::setpgid(0, 0);
  if (::dup2(plan.in, 0) < 0 || ::dup2(plan.out, 1) < 0 || ::dup2(plan.error, 2) < 0) return;
  if (::dup3(plan.report, 3, O_CLOEXEC) < 0) return;
  ::syscall(SYS_close_range, 4U, ~0U, 0U);
  if (::chdir(plan.options->folder.c_str()) != 0) return;
  ::signal(SIGPIPE, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  Limit(RLIMIT_CORE, 0);
  Limit(RLIMIT_FSIZE, 0);
  Limit(RLIMIT_NOFILE, kMaxDescriptors);
  Limit(RLIMIT_AS, static_cast<rlim_t>(plan.options->memory_bytes));
  Limit(RLIMIT_CPU, static_cast<rlim_t>(plan.options->cpu_seconds));
  // Where neither is allowed, the filter still refuses every socket.
  if (::unshare(CLONE_NEWNET) != 0) [[maybe_unused]]
    const int made = ::unshare(CLONE_NEWUSER | CLONE_NEWNET);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  sock_fprog filter = {.len = std::size(kFilter), .filter = const_cast<sock_filter*>(kFilter)};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return;
  if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) return;
  int error = ENOENT;
  for (const std::string& path : plan.paths) {
    ::execve(path.c_str(), plan.argv.data(), plan.environment.data());
    if (errno != ENOENT) error = errno;
  }
  errno = error;
}

// Every child is started by one thread that lives as long as the process: PR_SET_PDEATHSIG goes by the thread, and
// those that score come and go.
class Starter {
 public:
  static Starter& Get() {
    static auto* starter = new Starter;
    return *starter;
  }

  // The child's id; -errno when there is none.
  pid_t Fork(const Plan& plan) {
    const absl::MutexLock turn(&turn_);
    const absl::MutexLock lock(&mutex_);
    plan_ = &plan;
    const auto is_done = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return plan_ == nullptr; };
    mutex_.Await(absl::Condition(&is_done));
    return pid_;
  }

 private:
  Starter() {
    std::thread([this] {
      const auto has_plan = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return plan_ != nullptr; };
      while (true) {
        const absl::MutexLock lock(&mutex_, absl::Condition(&has_plan));
        pid_ = ::fork();
        if (pid_ == 0) {
          BecomeProgram(*plan_);
          const int error = errno;
          [[maybe_unused]] const ssize_t written = ::write(3, &error, sizeof(error));
          ::_exit(127);
        }
        if (pid_ < 0) pid_ = -errno;
        plan_ = nullptr;
      }
    }).detach();
  }

  // Whose turn it is to ask; what is asked for and answered.
  absl::Mutex turn_, mutex_;
  const Plan* plan_ ABSL_GUARDED_BY(mutex_) = nullptr;
  pid_t pid_ ABSL_GUARDED_BY(mutex_) = 0;
};

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

void Close(int* fd) {
  if (*fd >= 0) ::close(*fd);
  *fd = -1;
}

}  // namespace

absl::StatusOr<SandboxedProcess> StartSandboxed(const SandboxOptions& options) {
  Plan plan;
  const char* search = std::getenv("PATH");
  const std::string path = search == nullptr ? "/usr/local/bin:/usr/bin:/bin" : search;
  if (options.argv[0].find('/') != std::string::npos) {
    plan.paths = {options.argv[0]};
  } else {
    for (const absl::string_view folder : absl::StrSplit(path, ':')) {
      plan.paths.push_back(absl::StrCat(folder, "/", options.argv[0]));
    }
  }
  std::vector<std::string> argv = options.argv;
  plan.variables = {"PATH=" + path, "HOME=" + options.folder, "LANG=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1"};
  plan.argv = Pointers(argv);
  plan.environment = Pointers(plan.variables);
  plan.options = &options;

  // in, out, error, report: [0] is read, [1] written.
  int pipes[4][2];
  for (auto& pipe : pipes) pipe[0] = pipe[1] = -1;
  int failure = 0;
  for (auto& pipe : pipes) {
    // Above the numbers that the child moves its own to.
    if (::pipe2(pipe, O_CLOEXEC) != 0) failure = errno;
    for (int& end : pipe) {
      if (failure != 0 || end > 3) continue;
      const int moved = ::fcntl(end, F_DUPFD_CLOEXEC, 4);
      if (moved < 0) failure = errno;
      ::close(end);
      end = moved;
    }
  }
  SandboxedProcess process;
  if (failure == 0) {
    plan.in = pipes[0][0];
    plan.out = pipes[1][1];
    plan.error = pipes[2][1];
    plan.report = pipes[3][1];
    process.pid = Starter::Get().Fork(plan);
    if (process.pid < 0) failure = -std::exchange(process.pid, -1);
  }
  for (int* end : {&pipes[0][0], &pipes[1][1], &pipes[2][1], &pipes[3][1]}) Close(end);
  // Ends at once when exec closed the child's end.
  int error = 0;
  if (failure == 0 && ::read(pipes[3][0], &error, sizeof(error)) == sizeof(error)) failure = error;
  Close(&pipes[3][0]);
  process.in = pipes[0][1];
  process.out = pipes[1][0];
  process.error = pipes[2][0];
  if (failure != 0) {
    EndSandboxed(&process);
    const std::string message = absl::StrCat("cannot start ", options.argv[0], " in ", options.folder, ": ",
                                             std::strerror(failure), "; check command and folder");
    return failure == ENOENT ? absl::NotFoundError(message) : absl::InternalError(message);
  }
  for (const int end : {process.in, process.out, process.error}) ::fcntl(end, F_SETFL, O_NONBLOCK);
  return process;
}

std::string EndSandboxed(SandboxedProcess* process) {
  for (int* end : {&process->in, &process->out, &process->error}) Close(end);
  if (process->pid <= 0) return "";
  // First what it already came to by itself.
  int status = 0;
  if (::waitpid(process->pid, &status, WNOHANG) == 0) {
    ::kill(process->pid, SIGKILL);
    while (::waitpid(process->pid, &status, 0) < 0 && errno == EINTR) {
    }
  }
  process->pid = -1;
  if (WIFEXITED(status)) return absl::StrCat("it ended with exit status ", WEXITSTATUS(status));
  return absl::StrCat("it ended with signal ", WTERMSIG(status));
}

}  // namespace grpo
