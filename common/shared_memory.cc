#include "common/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/files.h"
#include "common/status_macros.h"

namespace grpo {
namespace {

constexpr char kWhat[] = "shared memory";
// Since Linux 5.1; Debian's headers of before do not name it.
constexpr int kSealFutureWrite = 0x0010;

// What a file of one number says; `otherwise` where it is not there or says no number ("max").
int64_t NumberIn(const std::string& path, int64_t otherwise) {
  const absl::StatusOr<std::string> text = ReadFile(path, 1 << 10);
  int64_t number;
  return text.ok() && absl::SimpleAtoi(*text, &number) ? number : otherwise;
}

// What can still be taken without anything being killed for it, of the machine and of the process's group; as good as
// all there is where the kernel does not say.
int64_t AvailableBytes() {
  int64_t available = INT64_MAX;
  if (const absl::StatusOr<std::string> meminfo = ReadFile("/proc/meminfo", 1 << 16); meminfo.ok()) {
    for (absl::string_view line : absl::StrSplit(*meminfo, '\n')) {
      int64_t kibibytes;
      if (absl::ConsumePrefix(&line, "MemAvailable:") && absl::ConsumeSuffix(&line, "kB") &&
          absl::SimpleAtoi(line, &kibibytes)) {
        available = kibibytes << 10;
      }
    }
  }
  const int64_t limit = NumberIn("/sys/fs/cgroup/memory.max", INT64_MAX);
  return std::min(available, limit - std::min(limit, NumberIn("/sys/fs/cgroup/memory.current", 0)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<SharedMemory>> SharedMemory::Create(int64_t num_bytes) {
  // Memory that is not there would be a killed process, not an error.
  if (const int64_t available = AvailableBytes(); num_bytes > available) {
    return absl::ResourceExhaustedError(
        absl::StrCat(kWhat, " of ", num_bytes, " bytes is wanted, ", available, " bytes are left"));
  }
  Descriptor fd(::memfd_create("grpo-weights", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (fd.get() < 0) return ErrnoStatus(errno, "make", kWhat);
  std::unique_ptr<SharedMemory> memory(new SharedMemory(std::move(fd)));
  const int file = memory->fd();
  if (::ftruncate(file, num_bytes) != 0) return ErrnoStatus(errno, "size", kWhat);
  if (::fallocate(file, 0, 0, num_bytes) != 0) return ErrnoStatus(errno, "fill", kWhat);
  void* const begin =
      ::mmap(nullptr, static_cast<size_t>(num_bytes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, file, 0);
  if (begin == MAP_FAILED) return ErrnoStatus(errno, "map", kWhat);
  memory->bytes_ = absl::MakeSpan(static_cast<char*>(begin), static_cast<size_t>(num_bytes));
  if (::fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) return ErrnoStatus(errno, "seal", kWhat);
  // The mapping above goes on writing; an older kernel refuses the seal, and readers are trusted not to write.
  if (::fcntl(file, F_ADD_SEALS, kSealFutureWrite) != 0 && errno != EINVAL) return ErrnoStatus(errno, "seal", kWhat);
  if (::fcntl(file, F_ADD_SEALS, F_SEAL_SEAL) != 0) return ErrnoStatus(errno, "seal", kWhat);
  return memory;
}

SharedMemory::~SharedMemory() {
  if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
}

absl::Status CheckSharedMemory(int fd, int64_t num_bytes) {
  struct stat file = {};
  if (::fstat(fd, &file) != 0) return ErrnoStatus(errno, "look at", kWhat);
  // Anything that is no such memory has no seals to get.
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals < 0 || !S_ISREG(file.st_mode) || (seals & F_SEAL_SHRINK) == 0)
    return absl::DataLossError("what was passed is no memory whose size is sealed");
  if (file.st_size >= num_bytes) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat("the memory that was passed has ", file.st_size, " bytes, ", num_bytes, " were announced"));
}

absl::Status ReadSharedMemory(int fd, int64_t offset, absl::Span<char> out) {
  while (!out.empty()) {
    const ssize_t num_read = ::pread(fd, out.data(), out.size(), offset);
    if (num_read < 0 && errno == EINTR) continue;
    if (num_read < 0) return ErrnoStatus(errno, "read", kWhat);
    if (num_read == 0) return absl::DataLossError(absl::StrCat("the shared memory ends at byte ", offset));
    out.remove_prefix(static_cast<size_t>(num_read));
    offset += num_read;
  }
  return absl::OkStatus();
}

}  // namespace grpo
