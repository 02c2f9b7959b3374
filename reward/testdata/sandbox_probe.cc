// What a program in the sandbox gets away with; reward/sandbox_test.cc starts it.
//   calls          makes every system call from 0 to 1,023, and prints each number and its errno
//   deeds FOLDER   prints what it could do that it must not ("did: ..."), and what it could not that it must be able to
//                  ("cannot: ...")
// Both end with the line "done". What is let through harms nobody: arguments are -1, signals are 0, and what is set is
// set to what it was; files are FOLDER's.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <string>

namespace {

std::string folder;

std::string At(const std::string& name) {
  return folder + "/" + name;
}

// 0, or whom nobody has here.
pid_t Other() {
  return getppid() > 0 ? getppid() : 2;
}

bool Did(long result) {
  return result >= 0;
}

bool Opens(const std::string& path, int flags) {
  const int file = open(path.c_str(), flags | O_CLOEXEC, 0600);
  if (file >= 0) close(file);
  return file >= 0;
}

// `Do` to a file that is open for reading.
template <class Do>
bool WithReadable(const Do& act) {
  const int file = open(At("victim").c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  const bool did = Did(act(file));
  close(file);
  return did;
}

bool SeesOthers() {
  DIR* entries = opendir("/proc");
  if (entries == nullptr) return false;
  bool sees = false;
  while (const dirent* entry = readdir(entries)) {
    sees = sees || (atoi(entry->d_name) > 0 && atoi(entry->d_name) != getpid());
  }
  closedir(entries);
  return sees;
}

bool Forks() {
  const long child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
  if (child == 0) _exit(0);
  if (child > 0) waitpid(static_cast<pid_t>(child), nullptr, 0);
  return Did(child);
}

bool SetsOthersProcessors() {
  cpu_set_t processors;
  return sched_getaffinity(0, sizeof(processors), &processors) == 0 &&
         Did(sched_setaffinity(Other(), sizeof(processors), &processors));
}

bool ReadsOthersMemory() {
  int there = 0;
  const iovec local = {.iov_base = &there, .iov_len = sizeof(there)};
  return process_vm_readv(Other(), &local, 1, &local, 1, 0) > 0;
}

// Signals of a descriptor go to its owner.
bool OwnsForOther(bool by_ioctl) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return false;
  const pid_t other = Other();
  const bool did = Did(by_ioctl ? ioctl(pair[0], FIOSETOWN, &other) : fcntl(pair[0], F_SETOWN, other));
  close(pair[0]);
  close(pair[1]);
  return did;
}

bool PairsDatagrams() {
  int pair[2];
  return Did(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
}

bool LocksRecord(int kind) {
  return WithReadable([kind](int file) {
    struct flock lock = {};
    lock.l_type = F_RDLCK;
    return fcntl(file, kind, &lock);
  });
}

struct Deed {
  const char* name;
  bool (*act)();
};

const Deed kForbidden[] = {
    // Others.
    {"fork", Forks},
    {"see other processes", SeesOthers},
    {"read another's environment", [] { return Opens("/proc/" + std::to_string(Other()) + "/environ", O_RDONLY); }},
    {"open another's memory", [] { return Opens("/proc/" + std::to_string(Other()) + "/mem", O_RDONLY); }},
    {"read another's memory", ReadsOthersMemory},
    {"trace another", [] { return Did(ptrace(PTRACE_SEIZE, Other(), nullptr, nullptr)); }},
    {"kill", [] { return Did(kill(Other(), 0)); }},
    {"kill its group", [] { return Did(kill(0, 0)); }},
    {"kill all", [] { return Did(kill(-1, 0)); }},
    {"tkill", [] { return Did(syscall(SYS_tkill, Other(), 0)); }},
    {"tgkill", [] { return Did(syscall(SYS_tgkill, Other(), Other(), 0)); }},
    {"queue a signal", [] { return Did(sigqueue(Other(), 0, {})); }},
    {"open a process", [] { return Did(syscall(SYS_pidfd_open, Other(), 0)); }},
    {"own a descriptor for another", [] { return OwnsForOther(false); }},
    {"own a socket for another", [] { return OwnsForOther(true); }},
    {"read another's limits",
     [] {
       rlimit limit;
       return Did(prlimit(Other(), RLIMIT_CPU, nullptr, &limit));
     }},
    {"set another's processors", SetsOthersProcessors},
    {"set another's priority", [] { return Did(setpriority(PRIO_PROCESS, Other(), getpriority(PRIO_PROCESS, 0))); }},
    {"set another's scheduling",
     [] {
       const sched_param none = {};
       return Did(sched_setscheduler(Other(), SCHED_OTHER, &none));
     }},
    {"outlive the server", [] { return Did(prctl(PR_SET_PDEATHSIG, 0)); }},
    // The network, what processes share, the kernel.
    {"a socket with a path", [] { return Did(socket(AF_UNIX, SOCK_STREAM, 0)); }},
    {"a socket of the internet", [] { return Did(socket(AF_INET, SOCK_STREAM, 0)); }},
    {"a pair of datagram sockets", PairsDatagrams},
    {"shared memory", [] { return Did(syscall(SYS_shmget, 0, 4096, 01600)); }},
    {"semaphores", [] { return Did(syscall(SYS_semget, 0, 1, 01600)); }},
    {"a message queue", [] { return Did(syscall(SYS_msgget, 0, 01600)); }},
    {"a nameless file", [] { return Did(memfd_create("a", 0)); }},
    {"an io_uring",
     [] {
       char parameters[256] = {};
       return Did(syscall(SYS_io_uring_setup, 1, parameters));
     }},
    {"its terminal", [] { return Opens("/dev/tty", O_RDWR); }},
    {"a device", [] { return Opens("/dev/zero", O_WRONLY); }},
    {"a setting", [] { return Opens("/proc/self/oom_score_adj", O_WRONLY); }},
    // Files of every kind.
    {"write", [] { return Opens(At("victim"), O_WRONLY); }},
    {"append", [] { return Opens(At("victim"), O_WRONLY | O_APPEND); }},
    {"write through a link", [] { return Opens(At("link"), O_RDWR); }},
    {"write to a fifo", [] { return Opens(At("fifo"), O_RDWR | O_NONBLOCK); }},
    {"create", [] { return Opens(At("created"), O_WRONLY | O_CREAT); }},
    {"create by reading", [] { return Opens(At("created too"), O_RDONLY | O_CREAT); }},
    {"create without a name", [] { return Opens(folder, O_RDWR | O_TMPFILE); }},
    {"set the mode", [] { return Did(chmod(At("victim").c_str(), 04777)); }},
    {"set the mode of what is open", [] { return WithReadable([](int file) { return fchmod(file, 04777); }); }},
    {"set the owner", [] { return Did(chown(At("victim").c_str(), getuid(), getgid())); }},
    {"set the owner of what is open",
     [] { return WithReadable([](int file) { return fchown(file, getuid(), getgid()); }); }},
    {"set the time", [] { return Did(utimensat(AT_FDCWD, At("victim").c_str(), nullptr, 0)); }},
    {"set the time of what is open", [] { return WithReadable([](int file) { return futimens(file, nullptr); }); }},
    {"set an attribute", [] { return Did(setxattr(At("victim").c_str(), "user.a", "b", 1, 0)); }},
    {"set an attribute of what is open",
     [] { return WithReadable([](int file) { return fsetxattr(file, "user.a", "b", 1, 0); }); }},
    {"lock", [] { return WithReadable([](int file) { return flock(file, LOCK_EX | LOCK_NB); }); }},
    {"lock a record", [] { return LocksRecord(F_SETLK); }},
    {"lock a record of what is open", [] { return LocksRecord(F_OFD_SETLK); }},
    {"lease", [] { return WithReadable([](int file) { return fcntl(file, F_SETLEASE, F_RDLCK); }); }},
    {"watch", [] { return WithReadable([](int file) { return fcntl(file, F_SETSIG, SIGUSR1); }); }},
    {"link", [] { return Did(link(At("victim").c_str(), At("linked").c_str())); }},
    {"link symbolically", [] { return Did(symlink("victim", At("linked symbolically").c_str())); }},
    {"make a folder", [] { return Did(mkdir(At("made").c_str(), 0700)); }},
    {"make a fifo", [] { return Did(mkfifo(At("made fifo").c_str(), 0600)); }},
    {"make a socket", [] { return Did(mknod(At("made socket").c_str(), S_IFSOCK | 0600, 0)); }},
    {"truncate", [] { return Did(truncate(At("victim").c_str(), 0)); }},
    {"truncate by reading", [] { return Opens(At("victim"), O_RDONLY | O_TRUNC); }},
    {"rename over", [] { return Did(rename(At("moved").c_str(), At("victim").c_str())); }},
    {"rename a folder", [] { return Did(rename(At("sub").c_str(), At("renamed").c_str())); }},
    {"unlink", [] { return Did(unlink(At("doomed").c_str())); }},
    {"remove a folder", [] { return Did(rmdir(At("empty").c_str())); }},
    // Another view of files, so these come last.
    {"a mount", [] { return Did(mount("tmpfs", folder.c_str(), "tmpfs", 0, nullptr)); }},
    {"an unmount", [] { return Did(umount2(folder.c_str(), MNT_DETACH)); }},
    {"another root", [] { return Did(chroot(folder.c_str())); }},
    {"a user namespace", [] { return Did(unshare(CLONE_NEWUSER)); }},
};

bool RunsThread() {
  pthread_t thread;
  return pthread_create(
             &thread, nullptr, [](void* result) { return result; }, nullptr) == 0 &&
         pthread_join(thread, nullptr) == 0;
}

bool Pairs() {
  int pair[2];
  char byte = 'a';
  return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0 && send(pair[0], &byte, 1, 0) == 1 &&
         recv(pair[1], &byte, 1, 0) == 1;
}

bool ReadsLimits() {
  rlimit limit;
  return getrlimit(RLIMIT_NOFILE, &limit) == 0 && prlimit(getpid(), RLIMIT_NOFILE, &limit, nullptr) == 0;
}

// Only where there is a scratch folder; never more than it holds.
bool WritesScratch() {
  const char* scratch = getenv("TMPDIR");
  if (scratch == nullptr) return true;
  const std::string path = std::string(scratch) + "/a", other = std::string(scratch) + "/b";
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600);
  if (file < 0 || write(file, "a", 1) != 1 || ftruncate(file, 0) != 0 || ftruncate(file, 1 << 30) == 0) return false;
  close(file);
  return rename(path.c_str(), other.c_str()) == 0 && unlink(other.c_str()) == 0 && Opens("/dev/null", O_RDWR);
}

const Deed kOwed[] = {
    {"read", [] { return Opens(At("victim"), O_RDONLY); }},
    {"read through a link", [] { return Opens(At("link"), O_RDONLY); }},
    {"have random numbers", [] { return Opens("/dev/urandom", O_RDONLY); }},
    {"start a thread", RunsThread},
    {"pair sockets", Pairs},
    {"read its limits", ReadsLimits},
    {"signal itself", [] { return kill(getpid(), 0) == 0 && syscall(SYS_tgkill, getpid(), gettid(), 0) == 0; }},
    {"write to its scratch folder", WritesScratch},
};

void DoDeeds() {
  signal(SIGXFSZ, SIG_IGN);
  for (const Deed& deed : kOwed) {
    if (!deed.act()) printf("cannot: %s\n", deed.name);
  }
  for (const Deed& deed : kForbidden) {
    if (deed.act()) printf("did: %s\n", deed.name);
  }
  if (getenv("TMPDIR") != nullptr) printf("has scratch\n");
}

// With any arguments: ends the program, waits for ever, or returns to nowhere.
bool EndsOrWaits(long number) {
#ifdef __x86_64__
  // uretprobe and uprobe, which no filter is asked about: but from where the kernel put them they are an illegal
  // instruction.
  if (number == SYS_pause || number == 335 || number == 336) return true;
#endif
  return number == SYS_exit || number == SYS_exit_group || number == SYS_rt_sigreturn;
}

void MakeEveryCall() {
  for (long number = 0; number < 1024; ++number) {
    if (EndsOrWaits(number)) continue;
    errno = 0;
    const pid_t self = getpid();
    const long result = syscall(number, -1L, -1L, -1L, -1L, -1L, -1L);
    const int error = result < 0 ? errno : 0;
    // fork has no arguments to be refused for.
    if (getpid() != self) _exit(0);
    printf("%ld %d\n", number, error);
  }
}

}  // namespace

int main(int argc, char** argv) {
  setvbuf(stdout, nullptr, _IOFBF, 1 << 16);
  if (argc > 2) folder = argv[2];
  if (argc > 1 && strcmp(argv[1], "calls") == 0) MakeEveryCall();
  if (argc > 1 && strcmp(argv[1], "deeds") == 0) DoDeeds();
  printf("done\n");
}
