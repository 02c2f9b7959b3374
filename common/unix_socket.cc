#include "common/unix_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/status_macros.h"

namespace grpo {
namespace {

constexpr int kBacklog = 64;

// Before a message's bytes.
struct Header {
  uint32_t code, num_bytes;
};

// Room for one descriptor beside the bytes.
union Control {
  cmsghdr aligned;
  char bytes[CMSG_SPACE(sizeof(int))];
};

// A socket's address. Its path is at most 107 bytes long, so what is used is the file's name in the folder's
// descriptor, which must live as long as the address is used.
struct Address {
  Descriptor folder = Descriptor();
  sockaddr_un address = {};
};

absl::StatusOr<Address> MakeAddress(const std::string& path) {
  const std::filesystem::path file(path);
  Address made;
  made.folder = Descriptor(::open(file.parent_path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (made.folder.get() < 0) return ErrnoStatus(errno, "open", file.parent_path().string());
  const std::string shorter = absl::StrCat("/proc/self/fd/", made.folder.get(), "/", file.filename().string());
  if (shorter.size() >= sizeof(made.address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": the file's name is too long for a socket"));
  }
  made.address.sun_family = AF_UNIX;
  std::memcpy(made.address.sun_path, shorter.c_str(), shorter.size() + 1);
  return made;
}

absl::Status Gone(absl::string_view what) {
  return absl::UnavailableError(absl::StrCat(what, ": ", std::strerror(errno)));
}

// Sends all; the descriptor goes with the first byte.
absl::Status SendAll(int socket, absl::string_view bytes, int passed) {
  while (!bytes.empty()) {
    iovec piece = {.iov_base = const_cast<char*>(bytes.data()), .iov_len = bytes.size()};
    msghdr message = {};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    Control control = {};
    if (passed >= 0) {
      message.msg_control = control.bytes;
      message.msg_controllen = sizeof(control.bytes);
      cmsghdr* const header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(sizeof(int));
      std::memcpy(CMSG_DATA(header), &passed, sizeof(int));
    }
    const ssize_t sent = ::sendmsg(socket, &message, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return Gone("the other end takes no more");
    passed = -1;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return absl::OkStatus();
}

// Fills `out`; a descriptor that comes along goes to `passed`.
absl::Status ReceiveAll(int socket, char* out, size_t size, Descriptor& passed) {
  for (size_t filled = 0; filled < size;) {
    iovec piece = {.iov_base = out + filled, .iov_len = size - filled};
    Control control = {};
    msghdr message = {};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof(control.bytes);
    const ssize_t received = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (received < 0 && errno == EINTR) continue;
    if (received < 0) return Gone("the other end says nothing");
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
      if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
      int fd;
      std::memcpy(&fd, CMSG_DATA(header), sizeof(int));
      passed = Descriptor(fd);
    }
    if (received == 0) return absl::UnavailableError("the other end has closed the socket");
    filled += static_cast<size_t>(received);
  }
  return absl::OkStatus();
}

}  // namespace

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

absl::StatusOr<Descriptor> ListenUnix(const std::string& path) {
  ASSIGN_OR_RETURN(const Address at, MakeAddress(path));
  struct stat there = {};
  if (::lstat(path.c_str(), &there) == 0) {
    if (!S_ISSOCK(there.st_mode)) return absl::AlreadyExistsError(absl::StrCat(path, " is there and is no socket"));
    if (::unlink(path.c_str()) != 0) return ErrnoStatus(errno, "remove", path);
  }
  Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (socket.get() < 0) return ErrnoStatus(errno, "make a socket for", path);
  // The file is made with the socket's own mode: nobody else can open it for a moment.
  if (::fchmod(socket.get(), S_IRUSR | S_IWUSR) != 0) return ErrnoStatus(errno, "restrict", path);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&at.address), sizeof(at.address)) != 0)
    return ErrnoStatus(errno, "bind", path);
  if (::listen(socket.get(), kBacklog) != 0) return ErrnoStatus(errno, "listen at", path);
  return socket;
}

absl::StatusOr<Descriptor> AcceptUnix(int listening) {
  while (true) {
    Descriptor socket(::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC));
    if (socket.get() >= 0) return socket;
    // Shut down.
    if (errno == EINVAL) return absl::CancelledError("nobody is accepted any more");
    // The caller has left, or for now there is no room for a further descriptor.
    if (errno != EINTR && errno != ECONNABORTED) ::usleep(10'000);
  }
}

absl::StatusOr<Descriptor> ConnectUnix(const std::string& path, absl::Duration timeout) {
  ASSIGN_OR_RETURN(const Address at, MakeAddress(path));
  Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (socket.get() < 0) return ErrnoStatus(errno, "make a socket for", path);
  SetTimeout(socket.get(), timeout);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&at.address), sizeof(at.address)) != 0)
    return ErrnoStatus(errno, "connect to", path);
  RETURN_IF_ERROR(Annotate(CheckSameUser(socket.get()), path));
  return socket;
}

absl::Status CheckSameUser(int socket) {
  ucred peer = {};
  socklen_t size = sizeof(peer);
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return Gone("who is at the other end");
  if (peer.uid == ::geteuid()) return absl::OkStatus();
  return absl::PermissionDeniedError(
      absl::StrCat("the process at the other end of the socket is of user ", peer.uid, ", not of ", ::geteuid()));
}

int64_t PeerProcess(int socket) {
  ucred peer = {};
  socklen_t size = sizeof(peer);
  return ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? peer.pid : 0;
}

void SetTimeout(int socket, absl::Duration timeout) {
  const timeval time = absl::ToTimeval(timeout);
  ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time));
  ::setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time));
}

absl::Status SendUnix(int socket, uint32_t code, absl::string_view bytes, int passed) {
  const Header header = {.code = code, .num_bytes = static_cast<uint32_t>(bytes.size())};
  RETURN_IF_ERROR(SendAll(socket, absl::string_view(reinterpret_cast<const char*>(&header), sizeof(header)), passed));
  return SendAll(socket, bytes, -1);
}

absl::StatusOr<UnixMessage> ReceiveUnix(int socket, int64_t max_bytes) {
  UnixMessage message;
  Header header = {};
  RETURN_IF_ERROR(ReceiveAll(socket, reinterpret_cast<char*>(&header), sizeof(header), message.passed));
  if (header.num_bytes > max_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a message of ", header.num_bytes, " bytes, at most ", max_bytes, " are taken"));
  }
  message.code = header.code;
  message.bytes.resize(header.num_bytes);
  RETURN_IF_ERROR(ReceiveAll(socket, message.bytes.data(), message.bytes.size(), message.passed));
  return message;
}

bool WaitForClose(int socket) {
  char byte;
  ssize_t received;
  do {
    received = ::recv(socket, &byte, 1, 0);
  } while (received < 0 && errno == EINTR);
  return received == 0 || (received < 0 && errno != EAGAIN && errno != EWOULDBLOCK);
}

}  // namespace grpo
