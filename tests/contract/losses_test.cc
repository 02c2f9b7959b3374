// The contract of every loss in trainer/losses.inc (docs/design.md section 3).
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>

#include "common/seeds.h"
#include "common/status_testing.h"
#include "trainer/batch/streams.h"
#include "trainer/loss/loss.h"

namespace grpo {
namespace {

using Streams = std::map<std::string, at::Tensor>;

constexpr LossOptions kOptions = {.clip_low = 0.2, .clip_high = 0.3};

at::Tensor RandomTensor(Rng& rng, int64_t size, double low, double high) {
  at::Tensor tensor = at::zeros({size}, at::kDouble);
  for (int64_t i = 0; i < size; ++i) tensor.data_ptr<double>()[i] = low + (high - low) * rng.Uniform();
  return tensor;
}

class LossContractTest : public ::testing::TestWithParam<LossInfo> {
 protected:
  LossContractTest() : loss_(*MakeLoss(GetParam().name, kOptions)) {
    Rng rng(HashName(GetParam().name));
    policy_logprob_ = RandomTensor(rng, kTargets, -3, -0.5);
    for (const std::string& name : loss_->streams()) {
      const bool logprob = name == stream::kSampleLogprob || name == stream::kRefLogprob;
      const bool weight = name == stream::kRlWeight || name == stream::kCeWeight || name == stream::kKlWeight;
      streams_[name] = logprob ? policy_logprob_ + RandomTensor(rng, kTargets, -0.5, 0.5)
                               : RandomTensor(rng, kTargets, weight ? 0.01 : -1, 1);
    }
  }

  double Value(const at::Tensor& policy_logprob, const Streams& streams) const {
    return loss_->Compute(policy_logprob, streams).loss.item<double>();
  }

  at::Tensor Gradient(const Streams& streams) const {
    const at::Tensor leaf = policy_logprob_.clone().requires_grad_(true);
    loss_->Compute(leaf, streams).loss.backward();
    return leaf.grad();
  }

  static constexpr int64_t kTargets = 23;
  const std::unique_ptr<Loss> loss_;
  at::Tensor policy_logprob_;
  Streams streams_;
};

TEST_P(LossContractTest, GradientMatchesFiniteDifferences) {
  const at::Tensor gradient = Gradient(streams_);
  constexpr double kStep = 1e-6;
  for (int64_t i = 0; i < kTargets; ++i) {
    at::Tensor up = policy_logprob_.clone(), down = policy_logprob_.clone();
    up[i] += kStep;
    down[i] -= kStep;
    const double expected = (Value(up, streams_) - Value(down, streams_)) / (2 * kStep);
    EXPECT_NEAR(gradient[i].item<double>(), expected, 1e-7) << "target " << i;
  }
}

TEST_P(LossContractTest, ATargetOfWeightZeroAddsNothing) {
  Streams padded = streams_;
  at::Tensor longer = at::cat({policy_logprob_, at::zeros({4}, at::kDouble) - 1.5});
  for (auto& [name, values] : padded) {
    const bool weight = name == stream::kRlWeight || name == stream::kCeWeight || name == stream::kKlWeight;
    values = at::cat({values, at::zeros({4}, at::kDouble) + (weight ? 0.0 : -1.0)});
  }
  EXPECT_NEAR(Value(longer, padded), Value(policy_logprob_, streams_), 1e-12);
}

TEST_P(LossContractTest, PartsAddUpToTheWhole) {
  double sum = 0;
  for (const auto& [start, length] : std::vector<std::pair<int64_t, int64_t>>{{0, 5}, {5, 1}, {6, kTargets - 6}}) {
    Streams part;
    for (const auto& [name, values] : streams_) part[name] = values.narrow(0, start, length);
    sum += Value(policy_logprob_.narrow(0, start, length), part);
  }
  EXPECT_NEAR(sum, Value(policy_logprob_, streams_), 1e-12);
}

TEST_P(LossContractTest, WithoutAdvantageThereIsNoPolicyGradient) {
  if (!GetParam().policy_gradient) return;
  Streams neutral = streams_;
  neutral[stream::kAdvantage] = at::zeros({kTargets}, at::kDouble);
  EXPECT_EQ(Gradient(neutral).abs().max().item<double>(), 0);
}

INSTANTIATE_TEST_SUITE_P(EveryLoss, LossContractTest, ::testing::ValuesIn(ListLosses()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace grpo
