#include "trainer/stage/worker_memory.h"

#include <unistd.h>

#include "common/status_testing.h"

namespace grpo {
namespace {

TEST(WorkerMemoryTest, IsThatOfTheLargestWorkerThatLives) {
  Coordinator coordinator({}, {.run_id = "r", .config_sha256 = "", .epoch = 1});
  EXPECT_FALSE(LargestWorkerPeak(coordinator).has_value()) << "a worker elsewhere has none that could be seen";
  const ProcessId self = IdentifyProcess(::getpid()).value();
  ProcessId dead = self;
  --dead.start_ticks;
  coordinator.local_workers().Note(dead);
  EXPECT_FALSE(LargestWorkerPeak(coordinator).has_value());
  coordinator.local_workers().Note(self);
  EXPECT_GT(LargestWorkerPeak(coordinator).value_or(0), 0);
  ForgetWorkerPeaks(coordinator);
  EXPECT_GT(LargestWorkerPeak(coordinator).value_or(0), 0) << "what is resident now is the peak at least";
}

}  // namespace
}  // namespace grpo
