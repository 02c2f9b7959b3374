#include "trainer/optim/adamw.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/allclose.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>

#include "common/status_testing.h"

namespace grpo {
namespace {

at::Tensor Leaf(std::vector<float> values) {
  return at::tensor(values).requires_grad_(true);
}

// The formula of arXiv:1711.05101 algorithm 2, for one number, with both of its terms: L2 and decoupled decay.
struct NaiveAdamW {
  const OptimizerOptions& options;
  double m = 0, v = 0;
  int64_t t = 0;
  double Step(double weight, double gradient, double learning_rate) {
    ++t;
    gradient += options.l2 * weight;
    weight *= 1 - learning_rate * options.weight_decay;
    m = options.beta1 * m + (1 - options.beta1) * gradient;
    v = options.beta2 * v + (1 - options.beta2) * gradient * gradient;
    const double m_hat = m / (1 - std::pow(options.beta1, t)), v_hat = v / (1 - std::pow(options.beta2, t));
    return weight - learning_rate * m_hat / (std::sqrt(v_hat) + options.eps);
  }
};

class AdamWFormulaTest : public ::testing::TestWithParam<double> {};

TEST_P(AdamWFormulaTest, FollowsThePapersFormula) {
  const OptimizerOptions options{.beta1 = 0.8, .beta2 = 0.9, .eps = 1e-6, .weight_decay = 0.1, .l2 = GetParam()};
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

INSTANTIATE_TEST_SUITE_P(WithoutAndWithL2, AdamWFormulaTest, ::testing::Values(0.0, 0.3));

TEST(AdamWTest, OnMatricesAloneLeavesVectorsWithoutDecayAndWithoutL2) {
  const at::Tensor gradient = at::tensor({0.5f, -0.25f, 0.125f, 1.0f});
  // The values after two steps of a leaf of this shape.
  const auto after = [&](const OptimizerOptions& options, at::IntArrayRef shape) {
    at::Tensor leaf = Leaf({1.0f, -2.0f, 3.0f, -4.0f}).detach().view(shape).requires_grad_(true);
    at::Tensor other = Leaf({1.0f});
    // Another leaf of the other kind before it.
    if (shape.size() < 2) other = other.detach().view({1, 1}).requires_grad_(true);
    AdamW optimizer({{"other", other}, {"leaf", leaf}}, options);
    for (int step = 0; step < 2; ++step) {
      leaf.mutable_grad() = gradient.view(shape).clone();
      optimizer.Step(0.1);
    }
    return leaf.detach().flatten();
  };
  const OptimizerOptions none, all{.weight_decay = 0.5, .l2 = 0.5};
  OptimizerOptions matrices = all;
  matrices.weight_decay_on = "matrices";
  ASSERT_FALSE(at::equal(after(none, {4}), after(all, {4})));
  EXPECT_TRUE(at::equal(after(matrices, {4}), after(none, {4})));
  EXPECT_TRUE(at::equal(after(matrices, {2, 2}), after(all, {2, 2})));
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

TEST(AdamWTest, TheStagesOwnParametersAreUpdatedLikeTheOthersAndStandBehindThem) {
  at::Tensor weight = Leaf({1.0f, 2.0f}), projection = Leaf({1.0f, 2.0f});
  AdamW optimizer({{"w", weight}}, {.weight_decay = 0.1}, {{"projection", projection}});
  projection.mutable_grad() = at::tensor({3.0f, 4.0f});
  const std::vector<at::Tensor> gradients = optimizer.Gradients();
  ASSERT_EQ(gradients.size(), 2);
  EXPECT_TRUE(at::equal(gradients[0], at::tensor({0.0f, 0.0f})));
  EXPECT_TRUE(at::equal(gradients[1], at::tensor({3.0f, 4.0f})));
  weight.mutable_grad() = gradients[1].clone();
  optimizer.Step(0.1);
  EXPECT_FALSE(at::equal(projection.detach(), at::tensor({1.0f, 2.0f})));
  EXPECT_TRUE(at::equal(projection.detach(), weight.detach()));
}

TEST(AdamWTest, TheStateCarriesTheValuesOfTheStagesOwnParametersAndNoOthers) {
  at::Tensor projection = Leaf({1.0f, 2.0f});
  AdamW before({{"w", Leaf({1.0f})}}, {}, {{"projection", projection}});
  projection.mutable_grad() = at::tensor({3.0f, 4.0f});
  before.Step(0.1);
  std::vector<std::string> names;
  std::map<std::string, at::Tensor> state;
  for (const auto& [name, tensor] : before.State()) {
    names.push_back(name);
    EXPECT_FALSE(tensor.requires_grad()) << name;
    state[name] = tensor.clone();
  }
  EXPECT_EQ(names, (std::vector<std::string>{"w.exp_avg", "w.exp_avg_sq", "projection.exp_avg", "projection.exp_avg_sq",
                                             "projection"}));

  at::Tensor copy = Leaf({-1.0f, -1.0f});
  AdamW after({{"w", Leaf({1.0f})}}, {}, {{"projection", copy}});
  ASSERT_OK(after.SetState(state, before.num_steps()));
  EXPECT_TRUE(at::equal(copy.detach(), projection.detach()));
  EXPECT_TRUE(copy.requires_grad() && copy.is_leaf());
  for (auto& [leaf, optimizer] : {std::pair(&projection, &before), std::pair(&copy, &after)}) {
    leaf->mutable_grad() = at::tensor({-1.0f, 0.5f});
    optimizer->Step(0.1);
  }
  EXPECT_TRUE(at::equal(copy.detach(), projection.detach()));
  // As the ranks are sent it: into the tensors themselves.
  after.State().back().second.fill_(7.0f);
  EXPECT_TRUE(at::equal(copy.detach(), at::tensor({7.0f, 7.0f})));

  state.erase("projection");
  EXPECT_STATUS(after.SetState(state, 1), absl::StatusCode::kInvalidArgument, "lacks projection");
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

// What the first runs trained with: those two are never to change by a bit.
TEST(LearningRateTest, ConstantAndLinearAreTheSameDoublesAsEver) {
  const auto as_ever = [](const OptimizerOptions& options, double step, double num_steps) {
    double factor = 1;
    if (options.warmup_steps > 0) factor = std::min(1.0, (step + 1) / static_cast<double>(options.warmup_steps));
    if (options.schedule == "linear" && step / num_steps >= options.decay_start_frac) {
      factor *= std::max(options.final_learning_rate_frac, (1 - step / num_steps) / (1 - options.decay_start_frac));
    }
    return options.learning_rate * factor;
  };
  OptimizerOptions options{.learning_rate = 3e-3, .warmup_steps = 7};
  for (const char* schedule : {"constant", "linear"}) {
    options.schedule = schedule;
    for (const double start : {0.0, 0.3, 0.6, 1.0}) {
      options.decay_start_frac = start;
      options.final_learning_rate_frac = start / 12;
      for (int64_t step = 0; step <= 137; ++step)
        EXPECT_EQ(LearningRateAt(options, step, 137), as_ever(options, static_cast<double>(step), 137)) << step;
    }
  }
}

TEST(LearningRateTest, CosineFallsAlongHalfACosineToItsFraction) {
  const OptimizerOptions options{.learning_rate = 2.0,
                                 .warmup_steps = 4,
                                 .schedule = "cosine",
                                 .decay_start_frac = 0.2,
                                 .final_learning_rate_frac = 0.1};
  EXPECT_DOUBLE_EQ(LearningRateAt(options, 1, 100), 2.0 * 0.5);
  EXPECT_DOUBLE_EQ(LearningRateAt(options, 20, 100), 2.0);
  // A third and a half of the way: (1 + cos(pi / 3)) / 2 is 3/4, (1 + cos(pi / 2)) / 2 is 1/2.
  EXPECT_NEAR(LearningRateAt(options, 70, 150), 2.0 * (0.1 + 0.9 * 0.75), 1e-12);
  EXPECT_NEAR(LearningRateAt(options, 60, 100), 2.0 * 0.55, 1e-12);
  EXPECT_NEAR(LearningRateAt(options, 100, 100), 2.0 * 0.1, 1e-12);
}

TEST(LearningRateTest, ACosineThatBeginsWhileTheRateWarmsUpIsMultipliedWithIt) {
  const OptimizerOptions options{.learning_rate = 1.0, .warmup_steps = 40, .schedule = "cosine"};
  EXPECT_NEAR(LearningRateAt(options, 20, 40), 21.0 / 40 * 0.5, 1e-12);
}

TEST(LearningRateTest, OneCycleRisesToItsPeakAndFallsToItsEnd) {
  const OptimizerOptions options{.learning_rate = 2.0,
                                 .schedule = "one_cycle",
                                 .final_learning_rate_frac = 0.01,
                                 .initial_learning_rate_frac = 0.1,
                                 .peak_frac = 0.3};
  // 30 steps of 100, the last of which has the peak's rate; both halves are halfway between their ends in the middle.
  EXPECT_NEAR(LearningRateAt(options, 0, 100), 2.0 * 0.1, 1e-12);
  EXPECT_NEAR(LearningRateAt(options, 29, 100), 2.0, 1e-12);
  EXPECT_NEAR(LearningRateAt(options, 29 + 35, 100), 2.0 * (1 + 0.01) / 2, 1e-12);
  EXPECT_NEAR(LearningRateAt(options, 99, 100), 2.0 * 0.01, 1e-12);
  for (int64_t step = 1; step < 100; ++step) {
    const double before = LearningRateAt(options, step - 1, 100), now = LearningRateAt(options, step, 100);
    EXPECT_TRUE(step <= 29 ? now > before : now < before) << step;
  }
}

TEST(LearningRateTest, ShortStagesAndExtremeFractionsHaveARateInRange) {
  OptimizerOptions options{.learning_rate = 1.0, .final_learning_rate_frac = 0.5, .initial_learning_rate_frac = 0.25};
  for (const char* schedule : {"cosine", "one_cycle"}) {
    options.schedule = schedule;
    for (const double frac : {0.0, 0.5, 1.0}) {
      options.peak_frac = options.decay_start_frac = frac;
      for (const int64_t num_steps : {0, 1, 2, 3}) {
        for (int64_t step = 0; step <= num_steps; ++step) {
          const double rate = LearningRateAt(options, step, num_steps);
          // Not so for NaN.
          EXPECT_TRUE(rate >= 0.25 && rate <= 1) << schedule << " " << frac << " " << step << " of " << num_steps;
        }
      }
    }
  }
}

}  // namespace
}  // namespace grpo
