// Sockets between processes of one user on one machine: messages, each with a descriptor beside it or none. Whoever is
// at the other end is known by the kernel's word, so no token is asked for.
#ifndef GRPO_COMMON_UNIX_SOCKET_H_
#define GRPO_COMMON_UNIX_SOCKET_H_

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace grpo {

// A descriptor, closed with its owner; -1 is none.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor();
  int get() const { return fd_; }

 private:
  int fd_;
};

// A socket in the file system that only this user can open; the file is the caller's to remove. A socket that is there
// already, left by a process that was killed, is replaced; anything else there is AlreadyExists. The path may be of any
// length. ErrnoStatus's codes.
absl::StatusOr<Descriptor> ListenUnix(const std::string& path);
// The next caller, or Cancelled once somebody has called shutdown on the socket.
absl::StatusOr<Descriptor> AcceptUnix(int listening);
// Waits at most `timeout`, also in each later call on the socket. ErrnoStatus's codes: NotFound without such a file,
// Internal when nobody listens there; PermissionDenied, too, when whoever listens is another user.
absl::StatusOr<Descriptor> ConnectUnix(const std::string& path, absl::Duration timeout);

// PermissionDenied unless the process at the other end, as it connected or listened, is this user's.
absl::Status CheckSameUser(int socket);
// The number of the process at the other end, as it connected or listened; 0 where the kernel does not say, as for one
// in a container of its own.
int64_t PeerProcess(int socket);
// For each send and receive on the socket. More than zero.
void SetTimeout(int socket, absl::Duration timeout);

// What goes over such a socket at a time.
struct UnixMessage {
  // A status code (absl::StatusCode), for answers.
  uint32_t code = 0;
  std::string bytes;
  // Passed along: the receiver's own copy of the sender's.
  Descriptor passed = Descriptor();
};
// Sends one whole. `passed`, a descriptor or -1, stays the caller's. Unavailable when the other end is gone or too
// slow.
absl::Status SendUnix(int socket, uint32_t code, absl::string_view bytes, int passed = -1);
// Receives one whole. Unavailable when the other end is gone or too slow, InvalidArgument beyond max_bytes.
absl::StatusOr<UnixMessage> ReceiveUnix(int socket, int64_t max_bytes);
// Waits until the other end has closed the socket, at most for the socket's timeout: false then, and when it sends
// something.
bool WaitForClose(int socket);

}  // namespace grpo

#endif  // GRPO_COMMON_UNIX_SOCKET_H_
