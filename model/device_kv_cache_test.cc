#include "model/device_kv_cache.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>

#include "model/kv_cache.h"

namespace grpo {
namespace {

// The CPU is a device like any other here, but that it has no flash kernel of this kind; tests/device has the rest.
constexpr int64_t kSlots = 5, kMaxTokens = 50;

ModelConfig ConfigWithHeads(int64_t num_heads, int64_t num_kv_heads, int64_t head_dim) {
  ModelConfig config;
  config.num_layers = 2;
  config.num_heads = num_heads;
  config.num_kv_heads = num_kv_heads;
  config.head_dim = head_dim;
  return config;
}

at::Tensor Random(at::IntArrayRef shape, uint64_t seed) {
  at::Generator generator = at::detail::createCPUGenerator(seed);
  return at::randn(shape, generator);
}

// One decode step of both caches after the same prefill of all slots.
class Step {
 public:
  // A length of 0: the slot holds nothing yet.
  Step(const ModelConfig& config, std::vector<int64_t> lengths)
      : config_(config),
        lengths_(std::move(lengths)),
        plain_(config, Placement{}, kSlots, kMaxTokens),
        device_(config, Placement{}, kSlots, kMaxTokens) {
    for (int64_t slot = 0; slot < kSlots; ++slot) Prefill(slot, lengths_[slot], 7 * slot);
  }

  // Returns the largest difference of what prefill gives.
  double Prefill(int64_t slot, int64_t length, uint64_t seed) {
    if (length == 0) return 0;
    DevicePrefillAttention prefill(&device_, slot, length);
    PrefillAttention plain(&plain_, {length}, {slot});
    double difference = 0;
    for (int64_t layer = 0; layer < config_.num_layers; ++layer) {
      const at::Tensor q = Random({length, config_.num_heads, config_.head_dim}, seed + 1),
                       k = Random({length, config_.num_kv_heads, config_.head_dim}, seed + 100 * layer),
                       v = k * 0.5 + 0.1;
      const at::Tensor got = prefill.Attend(layer, q, k, v), want = plain.Attend(layer, q, k, v);
      difference = std::max(difference, (got - want).abs().max().item<double>());
    }
    return difference;
  }

  void CopyPrefix(int64_t from, const std::vector<int64_t>& to, int64_t num_tokens) {
    plain_.CopyPrefix(from, to, num_tokens);
    device_.CopyPrefix(from, to, num_tokens);
  }

  // [S, H, K], of both.
  std::tuple<at::Tensor, at::Tensor> Decode(int64_t layer, const at::Tensor& q, const at::Tensor& k,
                                            const at::Tensor& v) {
    DeviceDecodeAttention decode(&device_, at::tensor(lengths_));
    return {decode.Attend(layer, q, k, v), DecodeAttention(&plain_, &lengths_).Attend(layer, q, k, v)};
  }

 private:
  const ModelConfig config_;
  const std::vector<int64_t> lengths_;
  KvCache plain_;
  DeviceKvCache device_;
};

double Difference(const std::tuple<at::Tensor, at::Tensor>& both) {
  return (std::get<0>(both) - std::get<1>(both)).abs().max().item<double>();
}

TEST(DeviceKvCacheTest, DecodesAsTheCacheOfTheCpuForEveryShapeAndLength) {
  for (const auto& [num_heads, num_kv_heads, head_dim] :
       {std::tuple<int64_t, int64_t, int64_t>{4, 4, 16}, {4, 2, 10}, {6, 1, 64}, {2, 2, 2}}) {
    const ModelConfig config = ConfigWithHeads(num_heads, num_kv_heads, head_dim);
    Step step(config, {0, 1, 16, 31, 49});
    // As they come out of one fused tensor.
    const at::Tensor fused = Random({kSlots, num_heads + 2 * num_kv_heads, head_dim}, 1);
    for (int64_t layer = 0; layer < config.num_layers; ++layer) {
      const auto both = step.Decode(layer, fused.narrow(1, 0, num_heads) * 3, fused.narrow(1, num_heads, num_kv_heads),
                                    fused.narrow(1, num_heads + num_kv_heads, num_kv_heads));
      EXPECT_LT(Difference(both), 2e-6) << num_heads << " " << num_kv_heads << " " << head_dim;
    }
  }
}

TEST(DeviceKvCacheTest, PrefillsAsTheCacheOfTheCpu) {
  Step step(ConfigWithHeads(4, 2, 16), std::vector<int64_t>(kSlots, 0));
  for (const int64_t length : {1, 15, 50}) EXPECT_LT(step.Prefill(2, length, 3), 2e-6);
}

TEST(DeviceKvCacheTest, CopiedPrefixContinuesLikeTheOriginal) {
  const ModelConfig config = ConfigWithHeads(4, 2, 16);
  // The last slot holds an older completion, longer than the prefix that replaces it.
  Step step(config, {18, 18, 0, 18, 18});
  step.Prefill(4, 40, 8);
  step.CopyPrefix(1, {0, 1, 3, 4}, 18);
  const at::Tensor q = Random({1, 4, 16}, 1).expand({kSlots, 4, 16}), k = Random({1, 2, 16}, 2).expand({kSlots, 2, 16});
  for (int64_t layer = 0; layer < config.num_layers; ++layer) {
    const auto both = step.Decode(layer, q, k, k);
    EXPECT_LT(Difference(both), 2e-6);
    const at::Tensor got = std::get<0>(both);
    for (const int64_t slot : {0, 3, 4}) EXPECT_TRUE(got[slot].equal(got[1])) << layer << " " << slot;
  }
}

TEST(DeviceKvCacheTest, ARowDoesNotDependOnItsNeighbours) {
  const ModelConfig config = ConfigWithHeads(4, 2, 16);
  const at::Tensor q = Random({kSlots, 4, 16}, 1), k = Random({kSlots, 2, 16}, 2);
  Step first(config, {3, 0, 21, 9, 1}), second(config, {40, 17, 21, 0, 33});
  at::Tensor other_q = q * 2, other_k = k * -1;
  other_q[2] = q[2];
  other_k[2] = k[2];
  const at::Tensor want = std::get<0>(first.Decode(0, q, k, k))[2];
  EXPECT_TRUE(std::get<0>(second.Decode(0, other_q, other_k, other_k))[2].equal(want));
}

TEST(DeviceKvCacheTest, CountsItsBytesInTheDtypeThatIsComputedIn) {
  // 2 layers, 5 slots, 2 heads of 16, 64 tokens of capacity for 50, keys and values.
  const ModelConfig config = ConfigWithHeads(4, 2, 16);
  EXPECT_EQ(DeviceKvCache(config, Placement{}, kSlots, kMaxTokens).size_bytes(), 2 * 5 * 2 * 16 * 64 * 2 * 4);
  EXPECT_EQ(DeviceKvCache(config, {.compute = at::kBFloat16}, kSlots, kMaxTokens).size_bytes(),
            2 * 5 * 2 * 16 * 64 * 2 * 2);
}

TEST(DeviceKvCacheTest, RefusesWhatDoesNotFit) {
  const ModelConfig config = ConfigWithHeads(4, 2, 16);
  DeviceKvCache cache(config, Placement{}, kSlots, kMaxTokens);
  EXPECT_THROW(DevicePrefillAttention(&cache, 0, 65), c10::Error);
  EXPECT_THROW(DeviceDecodeAttention(&cache, at::tensor({int64_t{0}, int64_t{1}})), c10::Error);
}

}  // namespace
}  // namespace grpo
