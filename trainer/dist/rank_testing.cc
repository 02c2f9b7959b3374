#include "trainer/dist/rank_testing.h"

#include <ATen/Parallel.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

namespace grpo {
namespace {

[[noreturn]] void Die(const std::string& why) {
  std::fprintf(stderr, "ranks of a test: %s\n", why.c_str());
  std::abort();
}

}  // namespace

uint16_t FreePort() {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (::bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    Die("no free port");
  }
  ::close(fd);
  return ntohs(address.sin_port);
}

void RunRanks(int world_size, const std::function<void(Collectives&)>& body, const Collectives::Options& options) {
  const uint16_t port = FreePort();
  std::vector<std::thread> threads;
  for (int rank = 0; rank < world_size; ++rank) {
    threads.emplace_back([&, rank] {
      const auto collectives = Collectives::Connect(
          {.rank = rank, .world_size = world_size, .local_rank = rank, .master_addr = "127.0.0.1", .master_port = port},
          options);
      // A pool of threads in each rank would fight over the cores.
      at::set_num_threads(1);
      if (!collectives.ok()) Die(collectives.status().ToString());
      body(**collectives);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace grpo
