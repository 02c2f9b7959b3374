#include "trainer/dist/rendezvous.h"

#include <arpa/inet.h>
#include <c10/util/Logging.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"
#include "model/tensor.h"

namespace grpo {
namespace {

std::chrono::milliseconds ToChrono(absl::Duration duration) {
  return std::chrono::milliseconds(absl::ToInt64Milliseconds(duration));
}

struct FreeAddresses {
  void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};
using Addresses = std::unique_ptr<addrinfo, FreeAddresses>;

absl::StatusOr<Addresses> Resolve(const std::string& host, uint16_t port) {
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (const int error = ::getaddrinfo(host.c_str(), absl::StrCat(port).c_str(), &hints, &list); error != 0) {
    return absl::UnavailableError(absl::StrCat("MASTER_ADDR ", host, " cannot be resolved: ", ::gai_strerror(error)));
  }
  return Addresses(list);
}

bool IsLoopback(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    return (ntohl(reinterpret_cast<const sockaddr_in&>(address).sin_addr.s_addr) >> 24) == 127;
  }
  return address.sa_family == AF_INET6 &&
         IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6&>(address).sin6_addr) != 0;
}

// A socket that listens at exactly this address. Left to itself, TCPStore listens on every interface.
absl::StatusOr<int> Listen(const RankEnvironment& environment) {
  ASSIGN_OR_RETURN(const Addresses addresses, Resolve(environment.master_addr, environment.master_port));
  const int fd = ::socket(addresses->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  if (fd >= 0 && ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
      ::bind(fd, addresses->ai_addr, addresses->ai_addrlen) == 0 && ::listen(fd, SOMAXCONN) == 0) {
    return fd;
  }
  const int error = errno;
  if (fd >= 0) ::close(fd);
  return absl::UnavailableError(absl::StrCat("rank 0 cannot listen at MASTER_ADDR ", environment.master_addr,
                                             " MASTER_PORT ", environment.master_port, ": ", std::strerror(error)));
}

absl::StatusOr<c10::intrusive_ptr<c10d::Store>> ConnectStore(const RankEnvironment& environment,
                                                             absl::Duration timeout) {
  c10d::TCPStoreOptions options;
  options.port = environment.master_port;
  options.isServer = environment.rank == 0 && !environment.agent_store;
  options.numWorkers = environment.world_size;
  options.waitWorkers = false;
  options.timeout = ToChrono(timeout);
  // The other server reads requests one after the other and to their end: one half-sent request stops it for good.
  options.useLibUV = true;
  if (options.isServer) {
    ASSIGN_OR_RETURN(options.masterListenFd, Listen(environment));
  }
  return TorchGuard([&]() -> absl::StatusOr<c10::intrusive_ptr<c10d::Store>> {
    c10::intrusive_ptr<c10d::Store> store = c10::make_intrusive<c10d::TCPStore>(environment.master_addr, options);
    // torchrun keeps one store over restarts: what an earlier start left must not be read.
    return c10::intrusive_ptr<c10d::Store>(
        c10::make_intrusive<c10d::PrefixStore>(absl::StrCat("grpo/", environment.restart_count), std::move(store)));
  });
}

std::string ArrivalKey(int rank) {
  return absl::StrCat("arrived/", rank);
}

absl::Status WaitForAll(c10d::Store& store, const RankEnvironment& environment, absl::Duration timeout) {
  std::vector<std::string> keys;
  for (int rank = 0; rank < environment.world_size; ++rank) keys.push_back(ArrivalKey(rank));
  const absl::Status status = TorchGuard([&] {
    store.set(ArrivalKey(environment.rank), std::vector<uint8_t>{1});
    store.wait(keys, ToChrono(timeout));
    return absl::OkStatus();
  });
  if (status.ok()) return status;
  std::vector<int> missing;
  const absl::Status asked = TorchGuard([&] {
    for (int rank = 0; rank < environment.world_size; ++rank) {
      if (!store.check({ArrivalKey(rank)})) missing.push_back(rank);
    }
    return absl::OkStatus();
  });
  if (!asked.ok()) return absl::UnavailableError(absl::StrCat("the store of rank 0 is gone: ", asked.message()));
  return absl::UnavailableError(absl::StrCat("rank ", absl::StrJoin(missing, ", "), " of ", environment.world_size,
                                             " did not arrive within ", absl::FormatDuration(timeout)));
}

}  // namespace

absl::Status CheckPrivate(const std::string& host, const std::string& private_interface) {
  if (!private_interface.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const Addresses addresses, Resolve(host, 0));
  for (const addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next) {
    if (IsLoopback(*address->ai_addr)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("MASTER_ADDR ", host,
                     " is not on loopback, and the traffic between ranks is neither encrypted nor authenticated: if "
                     "the network between them is private, name its interface (network.private_interface: eth1)"));
  }
  return absl::OkStatus();
}

absl::StatusOr<c10::intrusive_ptr<c10d::Store>> OpenStore(const RankEnvironment& environment,
                                                          const std::string& private_interface,
                                                          absl::Duration timeout) {
  // Waiting with a deadline is no incident here, but c10d warns of each.
  FLAGS_caffe2_log_level = 2;
  RETURN_IF_ERROR(CheckPrivate(environment.master_addr, private_interface));
  absl::StatusOr<c10::intrusive_ptr<c10d::Store>> store = ConnectStore(environment, timeout);
  if (!store.ok()) {
    return absl::UnavailableError(absl::StrCat("rank ", environment.rank, " cannot reach the store of rank 0 at ",
                                               environment.master_addr, ":", environment.master_port, ": ",
                                               store.status().message()));
  }
  RETURN_IF_ERROR(WaitForAll(**store, environment, timeout));
  return store;
}

}  // namespace grpo
