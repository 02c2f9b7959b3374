// Ranks that have a device each: sums, broadcasts and steps. With fewer devices than ranks, as on a machine with one
// GPU, all have the first one, and what they sum goes through the host.
#include <ATen/DeviceAccelerator.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/zeros.h>

#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/status_testing.h"
#include "tests/device/deterministic.h"
#include "tests/device/device_under_test.h"
#include "tests/reference/trainee.h"
#include "trainer/batch/share.h"
#include "trainer/dist/rank_testing.h"
#include "trainer/fingerprint.h"

namespace grpo {
namespace {

bool OneDeviceEach(int world_size) {
  return at::accelerator::deviceCount() >= world_size;
}

c10::Device DeviceOf(int rank, int world_size) {
  return DeviceUnderTest(OneDeviceEach(world_size) ? rank : 0);
}

void RunRanksOnDevices(int world_size, const std::function<void(Collectives&, c10::Device)>& body,
                       int64_t bucket_bytes = int64_t{25} << 20) {
  RunRanks(
      world_size, [&](Collectives& collectives) { body(collectives, DeviceOf(collectives.rank(), world_size)); },
      {.bucket_bytes = bucket_bytes, .through_host = !OneDeviceEach(world_size)},
      [&](int rank) { return DeviceOf(rank, world_size); });
}

TEST(DeviceRanksTest, SumsAcrossRanksWithTheSameBitsOnEachForAnyBucketSize) {
  // [ranks][tensors] of odd sizes, an empty one among them.
  std::vector<std::vector<at::Tensor>> values(3);
  for (auto& of_rank : values) {
    for (const int64_t size : {7, 1, 0, 1000, 33}) of_rank.push_back(at::rand({size}) - 0.5);
  }
  for (const int world_size : {1, 2, 3}) {
    for (const int64_t bucket_bytes : {1, 200, 1 << 20}) {
      std::vector<std::string> hashes(static_cast<size_t>(world_size));
      RunRanksOnDevices(
          world_size,
          [&](Collectives& collectives, c10::Device device) {
            NamedTensors mine;
            std::vector<at::Tensor> tensors;
            for (const at::Tensor& value : values[collectives.rank()]) {
              tensors.push_back(value.to(device));
              mine.emplace_back("", tensors.back());
            }
            ASSERT_OK(collectives.AllReduceSum(tensors));
            for (size_t i = 0; i < tensors.size(); ++i) {
              at::Tensor expected = values[0][i].clone();
              for (int rank = 1; rank < world_size; ++rank) expected += values[rank][i];
              EXPECT_EQ(tensors[i].device(), device);
              EXPECT_TRUE(tensors[i].cpu().allclose(expected, 0, 1e-6)) << i;
            }
            hashes[collectives.rank()] = WeightsHash(mine);
          },
          bucket_bytes);
      for (const std::string& hash : hashes) EXPECT_EQ(hash, hashes[0]);
    }
  }
}

// In pieces of 16 bytes, over tensors on the device and on the host alike.
TEST(DeviceRanksTest, RankZerosTensorsReachTheOthersDevices) {
  for (const int world_size : {1, 2, 3}) {
    RunRanksOnDevices(
        world_size,
        [&](Collectives& collectives, c10::Device device) {
          at::Tensor matrix = at::full({5, 7}, 1.0f + static_cast<float>(collectives.rank())).to(device);
          at::Tensor on_host = at::zeros({3}), empty = at::zeros({0}).to(device);
          if (collectives.rank() == 0) on_host.fill_(2);
          ASSERT_OK(collectives.Broadcast({matrix, on_host, empty}));
          EXPECT_EQ(matrix.device(), device);
          EXPECT_TRUE(matrix.cpu().equal(at::full({5, 7}, 1.0f)));
          EXPECT_TRUE(on_host.equal(at::full({3}, 2.0f)));
          std::string bytes = absl::StrCat("rank ", collectives.rank());
          ASSERT_OK(collectives.Broadcast(bytes));
          EXPECT_EQ(bytes, "rank 0");
        },
        /*bucket_bytes=*/16);
  }
}

TEST(DeviceRanksTest, EachRankSaysWhatItsDeviceHolds) {
  RunRanksOnDevices(2, [&](Collectives& collectives, c10::Device device) {
    const at::Tensor held = at::zeros({1 << 20}).to(device);
    collectives.SetPhase("all of it");
    ASSERT_OK(collectives.AllGather("").status()) << "everybody has said it";
    ASSERT_OK_AND_ASSIGN(const std::vector<Collectives::Phase> phases, collectives.Phases());
    ASSERT_OK(collectives.AllGather("").status()) << "everybody has looked";
    ASSERT_EQ(phases.size(), 2u);
    for (const Collectives::Phase& phase : phases) {
      EXPECT_EQ(phase.name, "all of it");
      EXPECT_GE(phase.memory.allocated_bytes, 4 << 20);
      EXPECT_GE(phase.memory.peak_bytes, phase.memory.allocated_bytes);
    }
  });
}

// --- Steps ---

constexpr char kKeys[] =
    "{rewards: r, group_size: 3, kl_coefficient: 0.1, reference_policy: other, minibatches_per_iteration: 2}";

TEST(DeviceRanksTest, RanksLearnWhatOneDoesAndEndAStepWithTheSameWeights) {
  const auto alone = Collectives::SingleRank();
  for (const auto& [algorithm, keys] :
       {std::pair<const char*, const char*>{"grpo", kKeys},
        {"feature_distill", "{features: {teacher: teacher}, teachers: [{policy: teacher}]}"}}) {
    Trainee cpu(algorithm, keys, {}, alone.get());
    const Trainee::Outcome expected = cpu.Learn(InputFor(*cpu.algorithm, 51), *alone);
    for (const int world_size : {1, 2, 3}) {
      // Each step compares the weights of all ranks.
      RunRanksOnDevices(world_size, [&](Collectives& collectives, c10::Device device) {
        Trainee there(algorithm, keys, {.micro_batch_tokens = 12, .device = device}, &collectives);
        const Trainee::Outcome outcome = there.Learn(InputFor(*there.algorithm, 51), collectives);
        ASSERT_EQ(outcome.weights.size(), expected.weights.size());
        for (size_t i = 0; i < expected.weights.size(); ++i)
          EXPECT_LE(RelativeDifference(outcome.weights[i], expected.weights[i]), 1e-4) << "parameter " << i;
        for (const char* const name : {"loss", "grad_norm"})
          EXPECT_NEAR(outcome.metrics.at(name), expected.metrics.at(name), 1e-4 * (1 + expected.metrics.at(name)));
      });
    }
  }
}

// A part may be empty.
TEST(DeviceRanksTest, ANonFiniteLossOnOneRankLeavesTheWeightsOfAll) {
  const auto alone = Collectives::SingleRank();
  Trainee cpu("grpo", kKeys, {}, alone.get());
  ASSERT_OK_AND_ASSIGN(StepBatch batch, cpu.algorithm->Prepare(InputFor(*cpu.algorithm, 52)));
  batch.minibatches.resize(1);
  batch.minibatches[0].resize(2);
  std::vector<float>& advantages = batch.minibatches[0][1].streams[stream::kAdvantage].floats();
  advantages.assign(advantages.size(), NAN);
  const std::vector<StepBatch> parts = ShareOut(batch, 3);
  RunRanksOnDevices(3, [&](Collectives& collectives, c10::Device device) {
    Trainee there("grpo", kKeys, {.device = device}, &collectives);
    const std::string before = WeightsHash(there.student->NamedParameters());
    ASSERT_OK_AND_ASSIGN(const StepResult result, there.loop->Step(parts[collectives.rank()], 1e-2));
    EXPECT_EQ(result.metrics.at("skipped_updates"), 1);
    EXPECT_EQ(result.weights_hash, before);
    EXPECT_EQ(there.optimizer->num_steps(), 0);
  });
}

}  // namespace
}  // namespace grpo
