#include "trainer/dist/rank_testing.h"

#include <ATen/Parallel.h>

#include <barrier>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "common/free_port.h"

namespace grpo {
namespace {

[[noreturn]] void Die(const std::string& why) {
  std::fprintf(stderr, "ranks of a test: %s\n", why.c_str());
  std::abort();
}

}  // namespace

void RunRanks(int world_size, const std::function<void(Collectives&)>& body, const Collectives::Options& options,
              const std::function<c10::Device(int rank)>& device_of) {
  const absl::StatusOr<int> free_port = FreePort();
  if (!free_port.ok()) Die(free_port.status().ToString());
  const uint16_t port = static_cast<uint16_t>(*free_port);
  // A rank that returned while another was still connecting would make that one's connecting fail.
  std::barrier connected(world_size);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < world_size; ++rank) {
    threads.emplace_back([&, rank] {
      Collectives::Options mine = options;
      if (device_of != nullptr) mine.device = device_of(rank);
      const auto collectives = Collectives::Connect(
          {.rank = rank, .world_size = world_size, .local_rank = rank, .master_addr = "127.0.0.1", .master_port = port},
          mine);
      // A pool of threads in each rank would fight over the cores.
      at::set_num_threads(1);
      if (!collectives.ok()) Die(collectives.status().ToString());
      connected.arrive_and_wait();
      body(**collectives);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace grpo
