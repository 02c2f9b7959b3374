#include "reward/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "common/status_macros.h"
#include "common/thread.h"
#include "reward/sandbox_child.h"
#include "reward/sandbox_filter.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;

// Every child is started by one thread that lives as long as the process: PR_SET_PDEATHSIG goes by the thread, and
// those that score come and go.
class Starter {
 public:
  static Starter& Get() {
    static auto* starter = new Starter;
    return *starter;
  }

  // The child's id; -errno when there is none.
  pid_t Fork(SandboxPlan* plan) {
    const absl::MutexLock turn(&turn_);
    const absl::MutexLock lock(&mutex_);
    plan_ = plan;
    const auto is_done = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return plan_ == nullptr; };
    mutex_.Await(absl::Condition(&is_done));
    return pid_;
  }

 private:
  Starter() {
    StartThread("starting programs", [this] {
      const auto has_plan = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return plan_ != nullptr; };
      while (true) {
        const absl::MutexLock lock(&mutex_, absl::Condition(&has_plan));
        // As fork, and into its namespaces at once, so that the child in them is this process's own.
        const uint64_t flags = SandboxCloneFlags(plan_->parts) | SIGCHLD;
        pid_ = static_cast<pid_t>(::syscall(SYS_clone, flags, nullptr, nullptr, nullptr, nullptr));
        if (pid_ == 0) BecomeProgram(plan_);
        if (pid_ < 0) pid_ = -errno;
        plan_ = nullptr;
      }
    }).detach();
  }

  // Whose turn it is to ask; what is asked for and answered.
  absl::Mutex turn_, mutex_;
  SandboxPlan* plan_ ABSL_GUARDED_BY(mutex_) = nullptr;
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

// Ends of the child's pipes: in, out, error, report; [0] is read, [1] written. 0, or the error number.
int MakePipes(int (&pipes)[4][2]) {
  for (auto& pipe : pipes) pipe[0] = pipe[1] = -1;
  for (auto& pipe : pipes) {
    if (::pipe2(pipe, O_CLOEXEC) != 0) return errno;
    // Above the numbers that the child moves its own to.
    for (int& end : pipe) {
      if (end > 3) continue;
      const int moved = ::fcntl(end, F_DUPFD_CLOEXEC, 4);
      const int error = errno;
      ::close(end);
      end = moved;
      if (moved < 0) return error;
    }
  }
  return 0;
}

// The child's report: 0, or the error number. One that is to become a program closes its end by exec; any other that
// says nothing was killed on its way, as where a service's list of system calls kills.
int ReadReport(int report, bool becomes_program) {
  int error = 0;
  ssize_t count;
  do {
    count = ::read(report, &error, sizeof(error));
  } while (count < 0 && errno == EINTR);
  if (count == sizeof(error)) return error;
  return becomes_program ? 0 : ECHILD;
}

// Fills process. 0, or the error number.
int StartPlan(SandboxPlan* plan, SandboxedProcess* process) {
  int pipes[4][2];
  int failure = MakePipes(pipes);
  if (failure == 0) {
    plan->in = pipes[0][0];
    plan->out = pipes[1][1];
    plan->error = pipes[2][1];
    plan->report = pipes[3][1];
    process->pid = Starter::Get().Fork(plan);
    if (process->pid < 0) failure = -std::exchange(process->pid, -1);
  }
  for (int* end : {&pipes[0][0], &pipes[1][1], &pipes[2][1], &pipes[3][1]}) Close(end);
  if (failure == 0) failure = ReadReport(pipes[3][0], /*becomes_program=*/!plan->paths.empty());
  Close(&pipes[3][0]);
  process->in = pipes[0][1];
  process->out = pipes[1][0];
  process->error = pipes[2][0];
  if (failure != 0) EndSandboxed(process);
  return failure;
}

// All of the root folder, and of /proc and /dev what is neither of others nor a device.
std::vector<std::string> ReadablePaths() {
  std::vector<std::string> paths = {"/proc/self",  "/proc/cpuinfo", "/proc/meminfo", "/proc/stat",
                                    "/proc/sys",   "/dev/null",     "/dev/zero",     "/dev/full",
                                    "/dev/random", "/dev/urandom",  "/dev/shm"};
  std::error_code error;
  for (fs::directory_iterator entry("/", error), end; !error && entry != end; entry.increment(error)) {
    const std::string path = entry->path().string();
    if (path != "/proc" && path != "/dev") paths.push_back(path);
  }
  return paths;
}

absl::StatusOr<SandboxPlan> PlanFor(const SandboxParts& parts) {
  static const auto* writing = new auto(MakeSandboxFilter(/*may_write=*/true));
  static const auto* reading = new auto(MakeSandboxFilter(/*may_write=*/false));
  static const auto* readable = new auto(ReadablePaths());
  SandboxPlan plan = {};
  plan.parts = parts;
  ASSIGN_OR_RETURN(plan.filter, parts.may_write() ? *writing : *reading);
  plan.readable = *readable;
  plan.user_map = absl::StrCat(::geteuid(), " ", ::geteuid(), " 1");
  plan.group_map = absl::StrCat(::getegid(), " ", ::getegid(), " 1");
  return plan;
}

// Whether a child gets as far as its program.
bool CanHave(const SandboxParts& parts) {
  absl::StatusOr<SandboxPlan> plan = PlanFor(parts);
  if (!plan.ok()) return false;
  // Not from a literal: GCC 12 warns of an overlap in inlined copies of one (bug 105651).
  plan->folder = std::string("/");
  plan->memory_bytes = 1 << 30;
  plan->cpu_seconds = 10;
  SandboxedProcess process;
  const bool can = StartPlan(&*plan, &process) == 0;
  EndSandboxed(&process);
  return can;
}

// The most that this machine gives, found by trying.
const SandboxParts& Parts() {
  static const auto* parts = new SandboxParts([] {
    for (const int landlock : {LandlockVersion(), 0}) {
      // Without a user namespace a root can have the others.
      for (SandboxParts tried : {SandboxParts{.user = true, .namespaces = true, .mounts = true},
                                 SandboxParts{.user = false, .namespaces = true, .mounts = true},
                                 SandboxParts{.user = true, .namespaces = true},
                                 SandboxParts{.user = false, .namespaces = true}, SandboxParts{}}) {
        tried.landlock = landlock;
        if (CanHave(tried)) return tried;
      }
    }
    return SandboxParts{};
  }());
  return *parts;
}

}  // namespace

absl::StatusOr<SandboxedProcess> StartSandboxed(const SandboxOptions& options) {
  ASSIGN_OR_RETURN(SandboxPlan plan, PlanFor(Parts()));
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
  std::vector<std::string> variables = {"PATH=" + path, "HOME=" + options.folder, "LANG=C.UTF-8",
                                        "PYTHONDONTWRITEBYTECODE=1"};
  if (plan.parts.may_write()) variables.push_back(absl::StrCat("TMPDIR=", kSandboxScratch));
  plan.argv = Pointers(argv);
  plan.environment = Pointers(variables);
  std::error_code error;
  plan.folder = fs::absolute(options.folder, error).string();
  plan.memory_bytes = options.memory_bytes;
  plan.cpu_seconds = options.cpu_seconds;
  SandboxedProcess process;
  const int failure = StartPlan(&plan, &process);
  if (failure != 0) {
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

std::string SandboxShortfall() {
  const SandboxParts& parts = Parts();
  std::vector<std::string> lacking;
  if (parts.landlock == 0) lacking.push_back("no Landlock (Linux 5.13 or later, with lsm=landlock among others)");
  if (!parts.namespaces) {
    lacking.push_back("no namespaces (a container or user.max_user_namespaces forbids them)");
  } else if (!parts.mounts) {
    lacking.push_back("no mount namespace (Linux 5.12 or later, and no container that forbids it)");
  }
  if (lacking.empty()) return "";
  lacking.push_back("so programs have no folder for temporary files");
  if (!parts.mounts && parts.landlock == 0) lacking.push_back("and can read this user's other processes");
  return absl::StrJoin(lacking, ", ");
}

}  // namespace grpo
