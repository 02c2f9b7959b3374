#include "common/mapped_file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/mapping_name.h"
#include "common/status_macros.h"

namespace grpo {
namespace {

// A mapping that the handler may repair. Everything that a handler touches is a lock-free atomic.
struct Slot {
  // 0: free; 1: being filled; otherwise where the mapping begins.
  std::atomic<uintptr_t> begin{0};
  std::atomic<size_t> size{0};
  std::atomic<bool> lost{false};
};
std::array<Slot, 4096> g_slots;
struct sigaction g_previous;

// Puts zeros in the place of the mapping that holds the address; false where none does.
bool Repair(uintptr_t address) {
  for (Slot& slot : g_slots) {
    const uintptr_t begin = slot.begin.load();
    if (begin <= 1 || address < begin || address - begin >= slot.size.load()) continue;
    slot.lost.store(true);
    return ::mmap(reinterpret_cast<void*>(begin), slot.size.load(), PROT_READ, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS,
                  -1, 0) != MAP_FAILED;
  }
  return false;
}

void Say(absl::string_view text) {
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
}

// The file that is mapped at the address. Async-signal-safe.
void SayWhere(uintptr_t address) {
  char name[512];
  const size_t size = MappingName(address, name, sizeof(name));
  Say("SIGBUS: a page of ");
  Say(size > 0 ? absl::string_view(name, size) : "memory that no file backs");
  Say(" cannot be read or written: the file was made shorter, or its disk is full or broken\n");
}

void OnSigbus(int signal_number, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  // A signal that a process sent (si_code up to 0) has no address.
  if (info->si_code > 0 && Repair(reinterpret_cast<uintptr_t>(info->si_addr))) {
    errno = saved_errno;
    return;
  }
  if (info->si_code > 0) SayWhere(reinterpret_cast<uintptr_t>(info->si_addr));
  if ((g_previous.sa_flags & SA_SIGINFO) != 0) return g_previous.sa_sigaction(signal_number, info, context);
  if (g_previous.sa_handler == SIG_IGN) return;
  if (g_previous.sa_handler != SIG_DFL) return g_previous.sa_handler(signal_number);
  // Blocked until this handler returns; then it ends the process as if there had been none.
  ::signal(SIGBUS, SIG_DFL);
  ::raise(SIGBUS);
}

// Enters the mapping into the table; -1 when that is full.
int Enter(const void* begin, size_t size) {
  for (size_t i = 0; i < g_slots.size(); ++i) {
    uintptr_t free = 0;
    if (!g_slots[i].begin.compare_exchange_strong(free, 1)) continue;
    g_slots[i].size.store(size);
    g_slots[i].lost.store(false);
    g_slots[i].begin.store(reinterpret_cast<uintptr_t>(begin));
    return static_cast<int>(i);
  }
  return -1;
}

bool SameTime(const timespec& a, const timespec& b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

}  // namespace

void InstallSigbusHandler() {
  static const bool kInstalled [[maybe_unused]] = [] {
    struct sigaction action = {};
    action.sa_sigaction = OnSigbus;
    action.sa_flags = SA_SIGINFO;
    ::sigemptyset(&action.sa_mask);
    return ::sigaction(SIGBUS, &action, &g_previous) == 0;
  }();
}

absl::StatusOr<std::unique_ptr<MappedFile>> MappedFile::Open(const std::string& path) {
  // Not to wait for the writer of a pipe.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return ErrnoStatus(errno, "open", path);
  struct stat opened = {};
  const int error_number = ::fstat(fd, &opened) == 0 ? 0 : errno;
  auto file = std::unique_ptr<MappedFile>(new MappedFile(path, fd, opened));
  if (error_number != 0) return ErrnoStatus(error_number, "stat", path);
  if (!S_ISREG(opened.st_mode)) return absl::InvalidArgumentError(absl::StrCat(path, " is not a regular file"));
  if (opened.st_size == 0) return file;
  InstallSigbusHandler();
  const size_t size = static_cast<size_t>(opened.st_size);
  void* const begin = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (begin == MAP_FAILED) return ErrnoStatus(errno, "map", path);
  file->content_ = absl::string_view(static_cast<const char*>(begin), size);
  file->slot_ = Enter(begin, size);
  if (file->slot_ < 0) return absl::ResourceExhaustedError(absl::StrCat("map ", path, ": too many files are mapped"));
  return file;
}

MappedFile::MappedFile(std::string path, int fd, const struct stat& opened)
    : path_(std::move(path)), fd_(fd), opened_(opened) {}

MappedFile::~MappedFile() {
  if (slot_ >= 0) g_slots[slot_].begin.store(0);
  if (!content_.empty()) ::munmap(const_cast<char*>(content_.data()), content_.size());
  ::close(fd_);
}

absl::Status MappedFile::Check() const {
  if (slot_ >= 0 && g_slots[slot_].lost.load()) {
    return absl::DataLossError(absl::StrCat(path_, " was truncated while it was read, or the disk could not be read"));
  }
  struct stat now = {};
  if (::fstat(fd_, &now) != 0) return ErrnoStatus(errno, "stat", path_);
  // The rest of a page beyond a file's new end reads as zeros without a signal.
  if (now.st_size != opened_.st_size || !SameTime(now.st_mtim, opened_.st_mtim)) {
    return absl::DataLossError(absl::StrCat(path_, " was written to while it was read: it had ", opened_.st_size,
                                            " bytes and has ", now.st_size));
  }
  return absl::OkStatus();
}

}  // namespace grpo
