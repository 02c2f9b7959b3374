// The contract of every loss in trainer/losses.inc (docs/design.md section 3).
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <array>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/seeds.h"
#include "common/status_testing.h"
#include "configs/load.h"
#include "trainer/batch/streams.h"
#include "trainer/loss/loss.h"

namespace grpo {
namespace {

using Streams = std::map<std::string, at::Tensor>;
using Outputs = std::map<std::string, TargetOutputs>;

// The options of losses that do nothing without any.
std::string OptionsOf(const std::string& loss) {
  static const auto* const options = new std::map<std::string, std::string>{
      {"soft_labels", "{teachers: [{policy: teacher, temperature: {start: 2}}]}"},
      {"features", "{teacher: teacher, cosine_weight: 0.5}"},
  };
  const auto found = options->find(loss);
  return found == options->end() ? "{}" : found->second;
}

bool IsWeight(const std::string& stream) {
  return stream.ends_with("_weight");
}

// The models of losses that read outputs: a student and a wider, deeper teacher.
ModelConfig Shape(int64_t hidden_size, int64_t num_layers) {
  ModelConfig config;
  config.hidden_size = hidden_size;
  config.num_layers = num_layers;
  return config;
}

// [rows, columns] float32, as models compute.
at::Tensor RandomMatrix(Rng& rng, int64_t rows, int64_t columns) {
  at::Tensor tensor = at::zeros({rows, columns});
  for (int64_t i = 0; i < tensor.numel(); ++i) tensor.data_ptr<float>()[i] = static_cast<float>(2 * rng.Uniform() - 1);
  return tensor;
}

at::Tensor RandomTensor(Rng& rng, int64_t size, double low, double high) {
  at::Tensor tensor = at::zeros({size}, at::kDouble);
  for (int64_t i = 0; i < size; ++i) tensor.data_ptr<double>()[i] = low + (high - low) * rng.Uniform();
  return tensor;
}

// Targets as a loss is given them.
struct Targets {
  at::Tensor policy_logprob;  // [M]
  Streams streams;
  at::Tensor sequence_of_target, group_of_target;  // [M] int64
  Outputs outputs;

  LossInput input() const {
    return {.policy_logprob = policy_logprob,
            .streams = streams,
            .sequence_of_target = sequence_of_target,
            .group_of_target = group_of_target,
            .outputs = outputs};
  }
  // What is there of each target, of every output, put through `change`.
  template <class Change>
  void ChangeOutputs(const Change& change) {
    for (auto& [policy, of_policy] : outputs) {
      of_policy.hidden = change(policy, of_policy.hidden);
      for (auto& [layer, output] : of_policy.layers) output = change(absl::StrCat(policy, layer), output);
    }
  }
  // Whole sequences, numbered anew from 0.
  Targets Part(int64_t start, int64_t length) const {
    Targets part;
    part.policy_logprob = policy_logprob.narrow(0, start, length);
    for (const auto& [name, values] : streams) part.streams[name] = values.narrow(0, start, length);
    part.sequence_of_target = sequence_of_target.narrow(0, start, length) - sequence_of_target[start];
    part.group_of_target = group_of_target.narrow(0, start, length);
    part.outputs = outputs;
    part.ChangeOutputs([&](const std::string&, const at::Tensor& all) { return all.narrow(0, start, length); });
    return part;
  }
};

class LossContractTest : public ::testing::TestWithParam<LossInfo> {
 protected:
  LossContractTest() : loss_(*MakeLoss(GetParam().name, *ParseConfigText(OptionsOf(GetParam().name), "options"))) {
    const ModelConfig student = Shape(6, 2), teacher = Shape(8, 4);
    EXPECT_OK(loss_->Begin({.policy = student, .frozen = {{"teacher", &teacher}}, .seed = 7}));
    Rng rng(HashName(GetParam().name));
    for (const NeededOutputs& needed : loss_->outputs()) {
      const int64_t width = needed.policy.empty() ? student.hidden_size : teacher.hidden_size;
      TargetOutputs& outputs = targets_.outputs[needed.policy];
      outputs.hidden = RandomMatrix(rng, kTargets, width);
      outputs.head = RandomMatrix(rng, kVocabulary, width);
      for (const int64_t layer : needed.layers) outputs.layers[layer] = RandomMatrix(rng, kTargets, width);
    }
    targets_.policy_logprob = RandomTensor(rng, kTargets, -3, -0.5);
    for (const std::string& name : loss_->streams()) {
      const bool logprob = name == stream::kSampleLogprob || name == stream::kRefLogprob;
      targets_.streams[name] = logprob ? targets_.policy_logprob + RandomTensor(rng, kTargets, -0.5, 0.5)
                                       : RandomTensor(rng, kTargets, IsWeight(name) ? 0.01 : -1, 1);
    }
    std::vector<int64_t> sequences, groups;
    for (size_t s = 0; s < kLengths.size(); ++s) {
      sequences.insert(sequences.end(), kLengths[s], static_cast<int64_t>(s));
      groups.insert(groups.end(), kLengths[s], static_cast<int64_t>(s / 2));
    }
    targets_.sequence_of_target = at::tensor(sequences);
    targets_.group_of_target = at::tensor(groups);
  }

  // What is lost by adding up in another order: models' outputs are float32.
  double Rounding() const { return targets_.outputs.empty() ? 1e-12 : 1e-5; }
  double Value(const Targets& targets) const { return loss_->Compute(targets.input()).loss.item<double>(); }
  double ValueAt(const at::Tensor& policy_logprob) const {
    Targets targets = targets_;
    targets.policy_logprob = policy_logprob;
    return Value(targets);
  }

  // By the log-probabilities; zeros for a loss that reads none.
  at::Tensor Gradient(Targets targets) const {
    targets.policy_logprob = targets.policy_logprob.clone().requires_grad_(true);
    const at::Tensor loss = loss_->Compute(targets.input()).loss;
    if (loss.requires_grad()) loss.backward();
    const at::Tensor& gradient = targets.policy_logprob.grad();
    return gradient.defined() ? gradient : at::zeros({kTargets}, at::kDouble);
  }

  // Targets of each sequence; two sequences are a group.
  static constexpr std::array<int64_t, 5> kLengths = {2, 3, 1, 8, 9};
  static constexpr int64_t kTargets = 23, kVocabulary = 11;
  const std::unique_ptr<Loss> loss_;
  Targets targets_;
};

TEST_P(LossContractTest, GradientMatchesFiniteDifferences) {
  const at::Tensor gradient = Gradient(targets_);
  constexpr double kStep = 1e-6;
  for (int64_t i = 0; i < kTargets; ++i) {
    at::Tensor up = targets_.policy_logprob.clone(), down = targets_.policy_logprob.clone();
    up[i] += kStep;
    down[i] -= kStep;
    const double expected = (ValueAt(up) - ValueAt(down)) / (2 * kStep);
    EXPECT_NEAR(gradient[i].item<double>(), expected, 1e-7) << "target " << i;
  }
}

// What the trained policy puts out, its head, and the loss's own parameters, one number after the other. Models compute
// in float32: the step is large, and the bound is what rounding leaves of it.
TEST_P(LossContractTest, GradientsOfOutputsAndParametersMatchFiniteDifferences) {
  std::vector<std::pair<std::string, at::Tensor>> leaves = loss_->parameters();
  if (const auto policy = targets_.outputs.find(""); policy != targets_.outputs.end()) {
    leaves.emplace_back("hidden", policy->second.hidden);
    leaves.emplace_back("head", policy->second.head);
    for (auto& [layer, output] : policy->second.layers) leaves.emplace_back(absl::StrCat("layer ", layer), output);
  }
  for (auto& [name, leaf] : leaves) leaf.requires_grad_(true);
  if (leaves.empty()) return;
  loss_->Compute(targets_.input()).loss.backward();
  const at::NoGradGuard no_grad;
  bool any = false;
  for (auto& [name, leaf] : leaves) {
    const at::Tensor gradient = leaf.grad();
    for (int64_t i = 0; i < leaf.numel(); i += 7) {
      constexpr float kStep = 1e-2f;
      float& number = leaf.data_ptr<float>()[i];
      const float before = number;
      number = before + kStep;
      const double up = Value(targets_);
      number = before - kStep;
      const double down = Value(targets_);
      number = before;
      const double computed = gradient.defined() ? gradient.data_ptr<float>()[i] : 0.0;
      EXPECT_NEAR(computed, (up - down) / (2 * kStep), 1e-3 + 5e-3 * std::abs(computed)) << name << " " << i;
      any |= computed != 0;
    }
  }
  EXPECT_TRUE(any) << "no gradient at all";
}

TEST_P(LossContractTest, ATargetOfWeightZeroAddsNothing) {
  Targets padded = targets_;
  padded.policy_logprob = at::cat({targets_.policy_logprob, at::zeros({4}, at::kDouble) - 1.5});
  for (auto& [name, values] : padded.streams) {
    values = at::cat({values, at::zeros({4}, at::kDouble) + (IsWeight(name) ? 0.0 : -1.0)});
  }
  padded.ChangeOutputs([](const std::string&, const at::Tensor& all) { return at::cat({all, all.narrow(0, 0, 4)}); });
  padded.sequence_of_target = at::cat({targets_.sequence_of_target, at::full({4}, 5, at::kLong)});
  padded.group_of_target = at::cat({targets_.group_of_target, at::full({4}, 9, at::kLong)});
  EXPECT_NEAR(Value(padded), Value(targets_), Rounding());
}

TEST_P(LossContractTest, PartsAddUpToTheWhole) {
  double sum = 0;
  for (const auto& [start, length] : std::vector<std::pair<int64_t, int64_t>>{{0, 5}, {5, 1}, {6, kTargets - 6}}) {
    sum += Value(targets_.Part(start, length));
  }
  EXPECT_NEAR(sum, Value(targets_), Rounding());
}

// Which sequence comes first says nothing.
TEST_P(LossContractTest, TheOrderOfSequencesDoesNotMatter) {
  const int64_t first = kLengths[0] + kLengths[1];
  const Targets head = targets_.Part(0, first), tail = targets_.Part(first, kTargets - first);
  Targets turned;
  turned.policy_logprob = at::cat({tail.policy_logprob, head.policy_logprob});
  for (const auto& [name, values] : tail.streams) turned.streams[name] = at::cat({values, head.streams.at(name)});
  turned.sequence_of_target = at::cat({tail.sequence_of_target, head.sequence_of_target + 3});
  turned.group_of_target = at::cat({tail.group_of_target, head.group_of_target});
  turned.outputs = targets_.outputs;
  turned.ChangeOutputs([&](const std::string&, const at::Tensor& all) {
    return at::cat({all.narrow(0, first, kTargets - first), all.narrow(0, 0, first)});
  });
  EXPECT_NEAR(Value(turned), Value(targets_), Rounding());
}

TEST_P(LossContractTest, WithoutAdvantageThereIsNoPolicyGradient) {
  if (!GetParam().policy_gradient) return;
  Targets neutral = targets_;
  neutral.streams[stream::kAdvantage] = at::zeros({kTargets}, at::kDouble);
  EXPECT_EQ(Gradient(neutral).abs().max().item<double>(), 0);
}

TEST_P(LossContractTest, RefusesAKeyThatItDoesNotDeclareAndNamesIt) {
  EXPECT_STATUS(MakeLoss(GetParam().name, WithNumber({}, "no_such_key", 1)), absl::StatusCode::kInvalidArgument,
                "no_such_key");
  EXPECT_NE(GetParam().summary, "");
}

INSTANTIATE_TEST_SUITE_P(EveryLoss, LossContractTest, ::testing::ValuesIn(ListLosses()),
                         [](const auto& info) { return info.param.name; });

TEST(LossesIncTest, AnOptionOutOfRangeIsRefusedByItsKeyAndAnUnknownLossByItsName) {
  EXPECT_STATUS(MakeLoss("clipped_policy_gradient", WithNumber({}, "clip_low", 2)), absl::StatusCode::kInvalidArgument,
                "loss clipped_policy_gradient: configuration: clip_low: is 2");
  EXPECT_STATUS(MakeLoss("reference_lk"), absl::StatusCode::kInvalidArgument,
                "there is no loss reference_lk; did you mean reference_kl?");
}

// The options reach the formula: a ratio of e^0.4 counts as 1 + clip_high.
TEST(LossesIncTest, TheClippedSurrogateTakesItsBoundsFromItsOptions) {
  Targets targets;
  targets.policy_logprob = at::zeros({1});
  targets.streams = {{stream::kSampleLogprob, at::full({1}, -0.4)},
                     {stream::kAdvantage, at::full({1}, 1.0)},
                     {stream::kRlWeight, at::full({1}, 1.0)}};
  targets.sequence_of_target = targets.group_of_target = at::zeros({1}, at::kLong);
  for (const double clip_high : {0.1, 0.28}) {
    ASSERT_OK_AND_ASSIGN(const auto loss, MakeLoss("clipped_policy_gradient", WithNumber({}, "clip_high", clip_high)));
    EXPECT_NEAR(loss->Compute(targets.input()).loss.item<double>(), -1 - clip_high, 1e-6);
  }
}

}  // namespace
}  // namespace grpo
