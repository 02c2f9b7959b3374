// A program that tries everything (reward/testdata/sandbox_probe.cc), in the sandbox as it is on this machine and as it
// is on machines that give less, as root and as a user. What would be let through stays in a throw-away namespace.
#include "reward/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/exit_codes.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr uid_t kNobody = 65534;

// Who runs the program, and what the machine refuses.
struct Setting {
  bool as_user = false;
  bool landlock = true, mounts = true, namespaces = true;
};

void PrintTo(const Setting& setting, std::ostream* out) {
  *out << (setting.as_user ? "user" : "root") << (setting.landlock ? "" : ", no Landlock")
       << (setting.mounts ? "" : ", no mounts") << (setting.namespaces ? "" : ", no namespaces");
}

std::vector<Setting> Settings() {
  std::vector<Setting> settings;
  for (const bool as_user : {false, true}) {
    // One who is no root cannot be another.
    if (!as_user && ::geteuid() != 0) continue;
    settings.push_back({.as_user = as_user});
    settings.push_back({.as_user = as_user, .landlock = false});
    settings.push_back({.as_user = as_user, .mounts = false});
    settings.push_back({.as_user = as_user, .namespaces = false});
    settings.push_back({.as_user = as_user, .landlock = false, .namespaces = false});
  }
  return settings;
}

void Write(const std::string& path, const std::string& text) {
  std::ofstream(path) << text;
}

// Where a machine forbids this, what is let through still harms nothing.
void EnterThrowAwayNamespaces() {
  const std::string user = absl::StrCat(::geteuid(), " ", ::geteuid(), " 1");
  const std::string group = absl::StrCat(::getegid(), " ", ::getegid(), " 1");
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) != 0) return;
  Write("/proc/self/setgroups", "deny");
  Write("/proc/self/gid_map", group);
  Write("/proc/self/uid_map", user);
}

void Refuse(const Setting& setting) {
  const scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
  const auto refuse = [&](int number, const std::vector<scmp_arg_cmp>& where) {
    EXPECT_EQ(seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(EPERM), number, static_cast<unsigned int>(where.size()),
                                     where.data()),
              0);
  };
  if (!setting.landlock) refuse(SYS_landlock_create_ruleset, {});
  if (!setting.mounts) refuse(SYS_mount, {});
  if (!setting.namespaces) {
    refuse(SYS_clone, {{.arg = 0, .op = SCMP_CMP_MASKED_EQ, .datum_a = CLONE_NEWPID, .datum_b = CLONE_NEWPID}});
  }
  EXPECT_EQ(seccomp_load(filter), 0);
  seccomp_release(filter);
}

std::string ReadAll(int file) {
  std::string text;
  char buffer[4096];
  while (true) {
    const ssize_t count = ::read(file, buffer, sizeof(buffer));
    if (count < 0 && errno == EAGAIN) {
      pollfd waiting = {.fd = file, .events = POLLIN, .revents = 0};
      ::poll(&waiting, 1, -1);
    } else if (count <= 0) {
      return text;
    } else {
      text.append(buffer, static_cast<size_t>(count));
    }
  }
}

// What `act` returns in a process that is as the setting says, of which nothing is left. This process starts no thread,
// so that its children can.
std::string InSetting(const Setting& setting, const std::function<std::string()>& act) {
  int pipe[2];
  EXPECT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
  const pid_t outer = ::fork();
  if (outer == 0) {
    if (setting.as_user && ::geteuid() == 0) {
      const bool became = ::setgroups(0, nullptr) == 0 && ::setgid(kNobody) == 0 && ::setuid(kNobody) == 0;
      // Else /proc/self would be root's.
      if (!became || ::prctl(PR_SET_DUMPABLE, 1) != 0) ::_exit(1);
    }
    EnterThrowAwayNamespaces();
    const pid_t inner = ::fork();
    if (inner == 0) {
      Refuse(setting);
      const std::string result = act();
      [[maybe_unused]] const ssize_t written = ::write(pipe[1], result.data(), result.size());
      ::_exit(0);
    }
    ::waitpid(inner, nullptr, 0);
    ::_exit(0);
  }
  ::close(pipe[1]);
  std::string result = ReadAll(pipe[0]);
  ::close(pipe[0]);
  ::waitpid(outer, nullptr, 0);
  return result;
}

std::string Sandboxed(const std::vector<std::string>& argv) {
  absl::StatusOr<SandboxedProcess> process =
      StartSandboxed({.argv = argv, .folder = "/", .memory_bytes = 1 << 29, .cpu_seconds = 60});
  if (!process.ok()) return std::string(process.status().message());
  std::string text = ReadAll(process->out);
  text += ReadAll(process->error);
  EndSandboxed(&*process);
  return text;
}

// Its output without a sandbox.
std::string Plainly(const std::vector<std::string>& argv, const std::string& prefix = "") {
  std::string command = prefix;
  for (const std::string& word : argv) absl::StrAppend(&command, "'", word, "' ");
  FILE* out = ::popen((command + " 2>&1").c_str(), "r");
  std::string text = ReadAll(::fileno(out));
  const int status = ::pclose(out);
  return absl::StrCat(text, "exit ", WEXITSTATUS(status), "\n");
}

// Readable for everybody, unlike the build's folders.
class SandboxTest : public ::testing::Test {
 protected:
  SandboxTest() {
    // Only the sandbox gives a program a folder to write to.
    ::unsetenv("TMPDIR");
    char path[] = "/tmp/grpo_sandbox_test_XXXXXX";
    folder_ = ::mkdtemp(path);
    ::chmod(path, 0755);
    probe_ = folder_ + "/probe";
    fs::copy_file("reward/sandbox_probe", probe_);
    ::chmod(probe_.c_str(), 0755);
  }
  ~SandboxTest() override { fs::remove_all(folder_); }

  // Files of every kind, of whoever the setting is.
  std::string MakeFiles(const Setting& setting) {
    const std::string files = folder_ + "/files";
    fs::remove_all(files);
    for (const char* name : {"", "/sub", "/empty"}) fs::create_directory(files + name);
    for (const char* name : {"/victim", "/moved", "/doomed"}) Write(files + name, name);
    fs::create_symlink("victim", files + "/link");
    EXPECT_EQ(::mkfifo((files + "/fifo").c_str(), 0600), 0);
    if (setting.as_user && ::geteuid() == 0) {
      EXPECT_EQ(::lchown(files.c_str(), kNobody, kNobody), 0);
      for (const auto& entry : fs::directory_iterator(files)) {
        EXPECT_EQ(::lchown(entry.path().c_str(), kNobody, kNobody), 0);
      }
    }
    return files;
  }

  // All that can be seen of them.
  static std::string Look(const std::string& files) {
    std::map<std::string, std::string> seen;
    for (const auto& entry : fs::directory_iterator(files)) {
      struct stat stat;
      EXPECT_EQ(::lstat(entry.path().c_str(), &stat), 0);
      std::stringstream text;
      if (entry.is_regular_file()) text << std::ifstream(entry.path()).rdbuf();
      seen[entry.path().filename()] =
          absl::StrCat(stat.st_mode, " ", stat.st_uid, " ", stat.st_gid, " ", stat.st_size, " ", stat.st_nlink, " ",
                       stat.st_mtim.tv_sec, ".", stat.st_mtim.tv_nsec, " ", text.str());
    }
    std::string all;
    for (const auto& [name, text] : seen) absl::StrAppend(&all, name, ": ", text, "\n");
    return all;
  }

  std::string folder_, probe_;
};

TEST_F(SandboxTest, LetsAProgramDoNothingToOthersWhateverTheMachineGives) {
  for (const Setting& setting : Settings()) {
    SCOPED_TRACE(::testing::PrintToString(setting));
    const std::string files = MakeFiles(setting);
    const std::string before = Look(files);
    const std::string shortfall = InSetting(setting, SandboxShortfall);
    std::string did = InSetting(setting, [&] { return Sandboxed({probe_, "deeds", files}); });
    EXPECT_EQ(Look(files), before);
    if (shortfall.empty()) {
      EXPECT_EQ(did, "has scratch\ndone\n");
    } else if (!absl::StrContains(shortfall, "can read this user's other processes")) {
      EXPECT_EQ(did, "done\n") << shortfall;
    } else {
      // Of reading nobody keeps it there.
      EXPECT_THAT(did, AllOf(HasSubstr("see other processes"), HasSubstr("done"))) << shortfall;
      for (const absl::string_view line : absl::StrSplit(did, '\n')) {
        EXPECT_TRUE(line.empty() || line == "done" || line == "did: see other processes" ||
                    line == "did: read another's environment" || line == "did: open another's memory")
            << line;
      }
    }
  }
}

// Else the test above would show nothing.
TEST_F(SandboxTest, IsWhatKeepsThoseThingsFromBeingDone) {
  const std::string files = MakeFiles({});
  const std::string did = InSetting({}, [&] { return Plainly({probe_, "deeds", files}); });
  for (const char* deed : {"fork",
                           "see other processes",
                           "kill",
                           "tgkill",
                           "tkill",
                           "queue a signal",
                           "read another's limits",
                           "set another's priority",
                           "set another's processors",
                           "own a descriptor for another",
                           "shared memory",
                           "a socket with a path",
                           "a pair of datagram sockets",
                           "write",
                           "write through a link",
                           "write to a fifo",
                           "create",
                           "set the mode",
                           "set the mode of what is open",
                           "set the owner",
                           "set the time",
                           "lock",
                           "lock a record",
                           "link",
                           "make a folder",
                           "make a fifo",
                           "truncate",
                           "truncate by reading",
                           "rename over",
                           "rename a folder",
                           "unlink",
                           "remove a folder",
                           "outlive the server"}) {
    EXPECT_THAT(did, HasSubstr(absl::StrCat("did: ", deed, "\n")));
  }
  EXPECT_THAT(did, Not(HasSubstr("cannot: ")));
}

// What reaches other processes, the system, or files by another way than opening them, and its siblings.
constexpr char kNever[] =
    "fork vfork clone3 execveat ptrace process_vm_readv process_vm_writev process_madvise process_mrelease kcmp "
    "pidfd_open pidfd_getfd pidfd_send_signal kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo prlimit64 "
    "setpriority sched_setaffinity sched_setscheduler sched_setparam sched_setattr ioprio_set migrate_pages "
    "move_pages get_robust_list setpgid setsid socket connect bind listen accept accept4 socketpair sendmmsg "
    "setsockopt shmget shmat shmctl semget semop semctl msgget msgsnd msgrcv msgctl mq_open mq_unlink mq_notify "
    "memfd_create memfd_secret add_key request_key keyctl io_setup io_submit io_uring_setup io_uring_enter "
    "io_uring_register bpf perf_event_open userfaultfd unshare setns mount umount2 mount_setattr move_mount "
    "open_tree fsopen fsmount fspick pivot_root chroot swapon swapoff reboot kexec_load kexec_file_load init_module "
    "finit_module delete_module sethostname setdomainname settimeofday clock_settime clock_adjtime adjtimex acct "
    "quotactl syslog vhangup personality prctl seccomp iopl ioperm setuid setgid setreuid setregid setresuid "
    "setresgid setgroups setfsuid setfsgid capset open_by_handle_at name_to_handle_at openat2 creat truncate chmod "
    "fchmod fchmodat chown fchown lchown fchownat utime utimes utimensat futimesat setxattr lsetxattr fsetxattr "
    "removexattr lremovexattr fremovexattr link linkat symlink symlinkat mknod mknodat flock fcntl ioctl splice "
    "vmsplice tee sync syncfs fanotify_init fanotify_mark inotify_init inotify_init1 inotify_add_watch "
    "lookup_dcookie landlock_create_ruleset landlock_restrict_self uselib modify_ldt nfsservctl mbind set_mempolicy "
    "remap_file_pages";

TEST_F(SandboxTest, RefusesEverySystemCallThatReachesFurtherAndAllThatNobodyKnows) {
  for (const Setting& setting : Settings()) {
    SCOPED_TRACE(::testing::PrintToString(setting));
    const std::string answers = InSetting(setting, [&] { return Sandboxed({probe_, "calls"}); });
    EXPECT_THAT(answers, HasSubstr("\ndone\n"));
    std::map<int, int> errors;
    for (const absl::string_view line : absl::StrSplit(answers, '\n')) {
      const std::pair<absl::string_view, absl::string_view> words = absl::StrSplit(line, ' ');
      int number, error;
      if (absl::SimpleAtoi(words.first, &number) && absl::SimpleAtoi(words.second, &error)) errors[number] = error;
    }
    // All but those that end the program.
    EXPECT_GE(errors.size(), 1015);
    const auto is_refused = [&](int number) { return errors[number] == EPERM || errors[number] == ENOSYS; };
    for (const absl::string_view call : absl::StrSplit(kNever, ' ')) {
      const int number = seccomp_syscall_resolve_name(std::string(call).c_str());
      if (number < 0) continue;
      EXPECT_TRUE(is_refused(number)) << call << ": " << errors[number];
    }
    for (const auto& [number, error] : errors) {
      char* name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);
      EXPECT_TRUE(name != nullptr || is_refused(number)) << number << ": " << error;
      std::free(name);
    }
    EXPECT_EQ(errors[SYS_read], EBADF);
    EXPECT_EQ(errors[SYS_clone3], ENOSYS) << "a C library asks for threads by clone then";
  }
}

TEST_F(SandboxTest, SaysWhatTheMachineDoesNotGive) {
  EXPECT_THAT(InSetting({.landlock = false}, SandboxShortfall), HasSubstr("no Landlock"));
  // Where the machine has none at all, that is what is said.
  EXPECT_THAT(InSetting({.mounts = false}, SandboxShortfall),
              AnyOf(HasSubstr("no mount namespace"), HasSubstr("no namespaces")));
  EXPECT_THAT(InSetting({.namespaces = false}, SandboxShortfall), HasSubstr("no namespaces"));
}

TEST_F(SandboxTest, ThatIsRequiredKeepsAServerFromStartingWhereItIsNotWhole) {
  const std::string config = folder_ + "/server.yaml";
  Write(config, "{reward_server: {sandbox: required}, rewards: {main: {rules: {exact: {}}}}}");
  const std::string said = InSetting({.landlock = false}, [&] {
    return Plainly({"reward/reward_server", "--config", config, "--port", "0"}, "timeout 60 ");
  });
  EXPECT_THAT(said, HasSubstr("reward_server.sandbox is required, and this machine has no Landlock"));
  EXPECT_THAT(said, HasSubstr(absl::StrCat("exit ", kExitConfig, "\n")));
}

}  // namespace
}  // namespace grpo
