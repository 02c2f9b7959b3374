#include "tools/launch/gpus.h"

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// A /dev with so many GPUs, and what else the driver puts there.
std::string DevWith(int num_gpus) {
  const std::string folder = absl::StrCat(::testing::TempDir(), "/dev", num_gpus);
  std::filesystem::create_directories(folder);
  for (const char* other : {"nvidiactl", "nvidia-uvm", "nvidia", "null"})
    std::ofstream(absl::StrCat(folder, "/", other)) << "";
  for (int i = 0; i < num_gpus; ++i) std::ofstream(absl::StrCat(folder, "/nvidia", i)) << "";
  return folder;
}

TEST(GpusTest, AreThoseOfTheMachineUnlessTheEnvironmentShowsFewer) {
  EXPECT_THAT(VisibleGpus(nullptr, DevWith(0)), IsEmpty());
  EXPECT_THAT(VisibleGpus(nullptr, "/nowhere"), IsEmpty());
  EXPECT_THAT(VisibleGpus("0,1", DevWith(0)), IsEmpty());
  EXPECT_THAT(VisibleGpus(nullptr, DevWith(3)), ElementsAre("0", "1", "2"));
  EXPECT_THAT(VisibleGpus("2, 0", DevWith(3)), ElementsAre("2", "0"));
  EXPECT_THAT(VisibleGpus("GPU-8f2a,MIG-1b", DevWith(3)), ElementsAre("GPU-8f2a", "MIG-1b"));
  // As CUDA reads it: nothing behind what is no GPU.
  EXPECT_THAT(VisibleGpus("1,-1,2", DevWith(3)), ElementsAre("1"));
  for (const char* none : {"", "-1", "NoDevFiles"}) EXPECT_THAT(VisibleGpus(none, DevWith(3)), IsEmpty());
}

TEST(GpusTest, WorkersTakeInTurnWhatTheRanksLeave) {
  std::vector<int64_t> left, shared;
  for (int64_t worker = 0; worker < 4; ++worker) {
    left.push_back(GpuOfWorker(worker, /*num_ranks=*/5, /*num_gpus=*/8));
    shared.push_back(GpuOfWorker(worker, /*num_ranks=*/2, /*num_gpus=*/2));
  }
  EXPECT_THAT(left, ElementsAre(5, 6, 7, 5));
  EXPECT_THAT(shared, ElementsAre(0, 1, 0, 1)) << "none is left";
  EXPECT_EQ(GpuOfWorker(0, /*num_ranks=*/0, /*num_gpus=*/1), 0);
}

TEST(GpusTest, TheMachinesMemoryBoundsOnlyRanksThatComputeOnItsProcessor) {
  EXPECT_TRUE(TakesGpus("cuda", false));
  EXPECT_TRUE(TakesGpus("auto", true));
  EXPECT_FALSE(TakesGpus("auto", false));
  EXPECT_FALSE(TakesGpus("cpu", true));
  RunConfig config;
  EXPECT_TRUE(MemoryHere(config, {}).bytes.has_value());
  EXPECT_FALSE(MemoryHere(config, {"0"}).bytes.has_value());
  config.trainer.device = "cpu";
  EXPECT_TRUE(MemoryHere(config, {"0"}).bytes.has_value());
}

}  // namespace
}  // namespace grpo
