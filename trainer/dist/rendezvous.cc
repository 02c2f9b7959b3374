#include "trainer/dist/rendezvous.h"

#include <arpa/inet.h>
#include <c10/util/Logging.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/status_macros.h"
#include "common/stop_signal.h"
#include "common/wait_notice.h"
#include "model/tensor.h"

namespace grpo {
namespace {

// Between two looks at what is waited for; also how soon a stop is noticed.
constexpr absl::Duration kFirstPause = absl::Milliseconds(50), kLongestPause = absl::Seconds(1);

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

// How long a rank waits for the others.
struct Patience {
  absl::Duration timeout;
  // When it is over, by Clock::Real().
  absl::Duration deadline = Clock::Real().Now() + timeout;
};

// Tries again while `attempt` is Unavailable, as long as patience lasts; then its last answer. The log says what is
// waited for at once and every minute. Aborted when the process is told to stop.
absl::Status Patiently(const Patience& patience, const std::function<std::string()>& what,
                       const std::function<absl::Status()>& attempt) {
  WaitNotice waiting;
  absl::Duration pause = kFirstPause;
  while (true) {
    absl::Status status = attempt();
    const absl::Duration left = patience.deadline - Clock::Real().Now();
    if (!absl::IsUnavailable(status) || left <= absl::ZeroDuration()) return status;
    if (waiting.Due())
      spdlog::info("waiting{} for {}, {} more at most: {}", waiting.For(), what(),
                   absl::FormatDuration(absl::Ceil(left, absl::Seconds(1))), std::string(status.message()));
    if (WaitForStop(std::min(pause, left)))
      return absl::AbortedError(absl::StrCat("stopped while waiting for ", what()));
    pause = std::min(2 * pause, kLongestPause);
  }
}

// A socket that listens at exactly this address. Left to itself, TCPStore listens on every interface. Unavailable for a
// name that is not known (yet), or still means the machine on which rank 0 was before.
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
  return absl::Status(error == EADDRNOTAVAIL ? absl::StatusCode::kUnavailable : absl::StatusCode::kFailedPrecondition,
                      absl::StrCat("rank 0 cannot listen at MASTER_ADDR ", environment.master_addr, " MASTER_PORT ",
                                   environment.master_port, ": ", std::strerror(error)));
}

// OK when somebody listens where the store of rank 0 is to be; Unavailable otherwise. Blocks for a second at most.
absl::Status Knock(const RankEnvironment& environment) {
  ASSIGN_OR_RETURN(const Addresses addresses, Resolve(environment.master_addr, environment.master_port));
  int error = 0;
  for (const addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next) {
    const int fd = ::socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const absl::Cleanup close_fd = [fd] { ::close(fd); };
    error = ::connect(fd, address->ai_addr, address->ai_addrlen) == 0 ? 0 : errno;
    if (error == EINPROGRESS) {
      pollfd connected = {.fd = fd, .events = POLLOUT, .revents = 0};
      socklen_t size = sizeof(error);
      if (::poll(&connected, 1, static_cast<int>(absl::ToInt64Milliseconds(kLongestPause))) <= 0) {
        error = ETIMEDOUT;
      } else {
        ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
      }
    }
    if (error == 0) return absl::OkStatus();
  }
  return absl::UnavailableError(absl::StrCat("nobody listens there: ", std::strerror(error)));
}

absl::StatusOr<c10::intrusive_ptr<c10d::Store>> ConnectStore(const RankEnvironment& environment,
                                                             const Patience& patience) {
  c10d::TCPStoreOptions options;
  options.port = environment.master_port;
  options.isServer = environment.rank == 0 && !environment.agent_store;
  options.numWorkers = environment.world_size;
  options.waitWorkers = false;
  options.timeout = ToChrono(patience.timeout);
  // The other server reads requests one after the other and to their end: one half-sent request stops it for good.
  options.useLibUV = true;
  const auto listen = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(options.masterListenFd, Listen(environment));
    return absl::OkStatus();
  };
  const auto where = [&] {
    return absl::StrCat("the store of rank 0 at ", environment.master_addr, ":", environment.master_port);
  };
  if (options.isServer) {
    RETURN_IF_ERROR(Patiently(
        patience, [] { return "an address to listen at"; }, listen));
  } else {
    // c10d would wait, too, but in silence and deaf to a stop.
    RETURN_IF_ERROR(Patiently(patience, where, [&] { return Knock(environment); }));
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

// "rank 1, 4 of 5": those that have not arrived. One question to the store for each.
std::string NameMissing(c10d::Store& store, int world_size) {
  std::vector<int> missing;
  const absl::Status asked = TorchGuard([&] {
    for (int rank = 0; rank < world_size; ++rank) {
      if (!store.check({ArrivalKey(rank)})) missing.push_back(rank);
    }
    return absl::OkStatus();
  });
  return asked.ok() ? absl::StrCat("rank ", absl::StrJoin(missing, ", "), " of ", world_size) : "the store of rank 0";
}

absl::Status WaitForAll(c10d::Store& store, const RankEnvironment& environment, const Patience& patience) {
  std::vector<std::string> keys;
  for (int rank = 0; rank < environment.world_size; ++rank) keys.push_back(ArrivalKey(rank));
  const auto ask = [&] {
    return TorchGuard([&] {
      store.set(ArrivalKey(environment.rank), std::vector<uint8_t>{1});
      return store.check(keys) ? absl::OkStatus() : absl::UnavailableError("not all are there");
    });
  };
  const auto missing = [&] { return NameMissing(store, environment.world_size); };
  const absl::Status status = Patiently(patience, missing, ask);
  if (status.ok() || absl::IsAborted(status)) return status;
  if (!absl::IsUnavailable(status)) return Annotate(status, "the store of rank 0 is gone");
  return absl::UnavailableError(
      absl::StrCat(missing(), " did not arrive within ", absl::FormatDuration(patience.timeout)));
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
  const Patience patience{.timeout = timeout};
  RETURN_IF_ERROR(Patiently(
      patience, [&] { return absl::StrCat("the address of ", environment.master_addr); },
      [&] { return CheckPrivate(environment.master_addr, private_interface); }));
  absl::StatusOr<c10::intrusive_ptr<c10d::Store>> store = ConnectStore(environment, patience);
  absl::Status status = store.status();
  if (!status.ok()) {
    status = Annotate(status, absl::StrCat("rank ", environment.rank, " cannot reach the store of rank 0 at ",
                                           environment.master_addr, ":", environment.master_port));
  } else {
    status = WaitForAll(**store, environment, patience);
  }
  if (status.ok()) return store;
  // But for a stop, whoever started the ranks is to start them again.
  return absl::IsAborted(status) ? status : absl::UnavailableError(status.message());
}

}  // namespace grpo
