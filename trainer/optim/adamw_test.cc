#include "trainer/optim/adamw.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>

#include <cmath>

#include "common/status_testing.h"

namespace grpo {
namespace {

at::Tensor Leaf(std::vector<float> values) {
  return at::tensor(values).requires_grad_(true);
}

// The formula of arXiv:1711.05101 algorithm 2, for one number.
struct NaiveAdamW {
  const OptimizerOptions& options;
  double m = 0, v = 0;
  int64_t t = 0;
  double Step(double weight, double gradient, double learning_rate) {
    ++t;
    weight *= 1 - learning_rate * options.weight_decay;
    m = options.beta1 * m + (1 - options.beta1) * gradient;
    v = options.beta2 * v + (1 - options.beta2) * gradient * gradient;
    const double m_hat = m / (1 - std::pow(options.beta1, t)), v_hat = v / (1 - std::pow(options.beta2, t));
    return weight - learning_rate * m_hat / (std::sqrt(v_hat) + options.eps);
  }
};

TEST(AdamWTest, FollowsThePapersFormula) {
  const OptimizerOptions options{.beta1 = 0.8, .beta2 = 0.9, .eps = 1e-6, .weight_decay = 0.1};
  const at::Tensor weight = Leaf({1.0f, -2.0f});
  AdamW optimizer({{"w", weight}}, options);
  NaiveAdamW first{options}, second{options};
  double a = 1, b = -2;
  for (int step = 0; step < 5; ++step) {
    const float gradient = 0.3f * static_cast<float>(step) - 0.5f;
    const_cast<at::Tensor&>(weight).mutable_grad() = at::tensor({gradient, 2 * gradient});
    optimizer.Step(0.01 * (step + 1));
    a = first.Step(a, gradient, 0.01 * (step + 1));
    b = second.Step(b, 2 * gradient, 0.01 * (step + 1));
  }
  EXPECT_NEAR(weight[0].item<double>(), a, 1e-6);
  EXPECT_NEAR(weight[1].item<double>(), b, 1e-6);
  EXPECT_EQ(optimizer.num_steps(), 5);
}

TEST(AdamWTest, GoesOnFromSavedStateBitForBit) {
  const OptimizerOptions options;
  const at::Tensor weight = Leaf({1.0f, 2.0f, 3.0f}), copy = Leaf({1.0f, 2.0f, 3.0f});
  const auto step = [](AdamW& optimizer, const at::Tensor& leaf, float scale) {
    const_cast<at::Tensor&>(leaf).mutable_grad() = at::tensor({scale, -scale, 0.1f});
    optimizer.Step(1e-2);
  };
  AdamW whole({{"w", weight}}, options), before({{"w", copy}}, options), after({{"w", copy}}, options);
  for (const float scale : {0.5f, 0.7f}) step(whole, weight, scale);
  step(before, copy, 0.5f);
  std::map<std::string, at::Tensor> state;
  for (const auto& [name, tensor] : before.State()) state[name] = tensor.clone();
  ASSERT_OK(after.SetState(state, before.num_steps()));
  step(after, copy, 0.7f);
  EXPECT_TRUE(at::equal(weight.detach(), copy.detach()));
}

TEST(AdamWTest, WhoeverReadsTheParametersIsToldBeforeTheyChange) {
  const at::Tensor weight = Leaf({1.0f, 2.0f});
  AdamW optimizer({{"w", weight}}, {});
  std::vector<at::Tensor> seen;
  optimizer.SetBeforeUpdate([&] { seen.push_back(weight.detach().clone()); });
  const_cast<at::Tensor&>(weight).mutable_grad() = at::tensor({1.0f, 1.0f});
  optimizer.Step(0.5);
  ASSERT_EQ(seen.size(), 1);
  EXPECT_TRUE(at::equal(seen[0], at::tensor({1.0f, 2.0f})));
  EXPECT_FALSE(at::equal(weight.detach(), seen[0]));
}

TEST(AdamWTest, RefusesStateThatDoesNotFit) {
  AdamW optimizer({{"w", Leaf({1.0f})}}, {});
  EXPECT_STATUS(optimizer.SetState({}, 1), absl::StatusCode::kInvalidArgument, "w.exp_avg");
  EXPECT_STATUS(optimizer.SetState({{"w.exp_avg", at::tensor({1.0f, 2.0f})}}, 1), absl::StatusCode::kInvalidArgument,
                "w.exp_avg");
}

TEST(LearningRateTest, WarmsUpLinearlyThenStays) {
  const OptimizerOptions options{.learning_rate = 1.0, .warmup_steps = 4};
  EXPECT_DOUBLE_EQ(LearningRateAt(options, 0, 100), 0.25);
  EXPECT_DOUBLE_EQ(LearningRateAt(options, 3, 100), 1.0);
  EXPECT_DOUBLE_EQ(LearningRateAt(options, 99, 100), 1.0);
}

// The prototype's schedule: flat to 60 %, then linear, never below 5 %.
TEST(LearningRateTest, FallsLinearlyToItsFloor) {
  const OptimizerOptions options{
      .learning_rate = 2.0, .schedule = "linear", .decay_start_frac = 0.6, .final_learning_rate_frac = 0.05};
  EXPECT_DOUBLE_EQ(LearningRateAt(options, 59, 100), 2.0);
  EXPECT_NEAR(LearningRateAt(options, 80, 100), 2.0 * 0.5, 1e-12);
  EXPECT_NEAR(LearningRateAt(options, 99, 100), 2.0 * 0.05, 1e-12);
}

}  // namespace
}  // namespace grpo
