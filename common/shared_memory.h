// Memory that processes share by a descriptor, without a name or a file. Its size is sealed when it is made, so that
// nobody who has the descriptor can take pages away from under somebody who reads or writes it (SIGBUS).
#ifndef GRPO_COMMON_SHARED_MEMORY_H_
#define GRPO_COMMON_SHARED_MEMORY_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/unix_socket.h"

namespace grpo {

// The side that writes. Thread-compatible.
class SharedMemory {
 public:
  // Zeros, all pages there from the start: what follows needs no memory any more. Whoever gets the descriptor can only
  // read (F_SEAL_FUTURE_WRITE, where the kernel has it). ResourceExhausted when the machine, or the process's group,
  // has not that much memory left; Unimplemented or Internal where the kernel has no such memory. At least one byte.
  static absl::StatusOr<std::unique_ptr<SharedMemory>> Create(int64_t num_bytes);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  absl::Span<char> bytes() const { return bytes_; }
  // To be passed on; it stays this object's.
  int fd() const { return fd_.get(); }

 private:
  explicit SharedMemory(Descriptor fd) : fd_(std::move(fd)) {}

  const Descriptor fd_;
  absl::Span<char> bytes_;
};

// --- The side that reads: by copies, so that whatever the other side has passed, an error is a status ---

// DataLoss unless the descriptor is of such memory, of at least `num_bytes` and sealed against being cut off.
absl::Status CheckSharedMemory(int fd, int64_t num_bytes);
// Fills `out` from `offset` on. DataLoss when there is not that much. Any thread, several at a time.
absl::Status ReadSharedMemory(int fd, int64_t offset, absl::Span<char> out);

}  // namespace grpo

#endif  // GRPO_COMMON_SHARED_MEMORY_H_
