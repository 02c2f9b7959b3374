// Cached decoding on a device: prefill, a copied prompt, then steps over slots of unequal lengths.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cstdio>
#include <numeric>
#include <tuple>
#include <vector>

#include "model/device.h"
#include "model/device_kv_cache.h"
#include "model/transformer.h"
#include "rollout/engine_testing.h"
#include "tests/device/deterministic.h"
#include "tests/device/device_under_test.h"

namespace grpo {
namespace {

Placement OnDevice(at::ScalarType compute) {
  return {.device = DeviceUnderTest(), .compute = compute};
}

at::Tensor Sent(const std::vector<int64_t>& values, c10::Device device = DeviceUnderTest()) {
  return ToDevice(absl::MakeConstSpan(values), device);
}

// The last token's logits of the whole sequence, [V], on the CPU.
at::Tensor FullLogits(const Transformer& model, const std::vector<int64_t>& ids) {
  const int64_t length = static_cast<int64_t>(ids.size());
  const c10::Device device = model.placement().device;
  PackedAttention attention({length});
  const at::Tensor hidden =
      model.Forward(Sent(ids, device), at::arange(length, at::TensorOptions(at::kLong).device(device)), attention);
  return model.Logits(hidden).select(0, length - 1).cpu();
}

// Slots 0, 1 and 3 hold sequences, the second of which begins as the first does; slot 2 is idle.
class CachedSequences {
 public:
  explicit CachedSequences(const Transformer& model) : model_(model), cache_(model.config(), model.placement(), 4, 32) {
    sequences_ = {{5, 17, 30, 8, 9}, {5, 17, 30, 8, 9}, {}, {36, 21, 2}};
    for (const int64_t slot : {0, 3}) {
      std::vector<int64_t> positions(sequences_[slot].size());
      std::iota(positions.begin(), positions.end(), 0);
      DevicePrefillAttention prefill(&cache_, slot, static_cast<int64_t>(positions.size()));
      model.Forward(Sent(sequences_[slot]), Sent(positions), prefill);
    }
    cache_.CopyPrefix(0, {0, 1}, 5);
  }

  // Appends a token to each and returns its logits [4, V], on the CPU.
  at::Tensor Step(int64_t step) {
    std::vector<int64_t> next(4, 0), positions(4, 0);
    for (int64_t slot = 0; slot < 4; ++slot) {
      if (sequences_[slot].empty()) continue;
      next[slot] = (13 * step + 7 * slot + 2) % kVocab;
      positions[slot] = static_cast<int64_t>(sequences_[slot].size());
      sequences_[slot].push_back(next[slot]);
    }
    const at::Tensor at = Sent(positions);
    DeviceDecodeAttention decode(&cache_, at);
    return model_.Logits(model_.Forward(Sent(next), at, decode)).cpu();
  }

  const std::vector<std::vector<int64_t>>& sequences() const { return sequences_; }

 private:
  const Transformer& model_;
  DeviceKvCache cache_;
  std::vector<std::vector<int64_t>> sequences_;
};

TEST(DeviceKvCacheTest, CachedDecodingEqualsTheFullForward) {
  const c10::InferenceMode without_autograd;
  for (const auto& [dtype, here, there] :
       {std::tuple<at::ScalarType, double, double>{at::kFloat, 1e-5, 1e-5}, {at::kBFloat16, 2e-2, 5e-2}}) {
    const auto model = TinyModel(7, OnDevice(dtype)), on_cpu = TinyModel(7, {.compute = dtype});
    CachedSequences cached(*model);
    double by_device = 0, by_cpu = 0;
    for (int64_t step = 0; step < 8; ++step) {
      const at::Tensor logits = cached.Step(step);
      for (const int64_t slot : {0, 1, 3}) {
        const std::vector<int64_t>& ids = cached.sequences()[slot];
        const at::Tensor host = FullLogits(*on_cpu, ids);
        const double scale = host.abs().max().item<double>();
        const auto difference = [&](const at::Tensor& other) {
          return (logits[slot] - other).abs().max().item<double>() / scale;
        };
        by_device = std::max(by_device, difference(FullLogits(*model, ids)));
        by_cpu = std::max(by_cpu, difference(host));
      }
    }
    std::printf("%s: cached against full on the device %g, on the CPU %g, relative\n", at::toString(dtype), by_device,
                by_cpu);
    EXPECT_LT(by_device, here);
    EXPECT_LT(by_cpu, there);
  }
}

TEST(DeviceKvCacheTest, AStepWaitsForNothing) {
  if (!OnFakeDevice()) GTEST_SKIP() << "only the fake device counts";
  const c10::InferenceMode without_autograd;
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const auto model = TinyModel(7, OnDevice(dtype));
    DeviceKvCache cache(model->config(), model->placement(), 4, 32);
    const at::Tensor ids = Sent({3, 4, 5, 6}), positions = Sent({0, 0, 0, 0});
    const fake::Counters before = fake::CountersNow();
    DeviceDecodeAttention decode(&cache, positions);
    model->Forward(ids, positions, decode);
    const fake::Counters spent = fake::CountersNow() - before;
    EXPECT_EQ(spent.waits, 0) << at::toString(dtype);
    EXPECT_EQ(spent.copies_to_host + spent.copies_to_device, 0) << at::toString(dtype);
    EXPECT_GT(spent.operators, 0);
  }
}

}  // namespace
}  // namespace grpo
