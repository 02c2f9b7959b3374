#include "trainer/loop.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/seeds.h"
#include "common/status_testing.h"
#include "configs/load.h"
#include "trainer/batch/share.h"
#include "trainer/dist/rank_testing.h"
#include "trainer/fingerprint.h"

namespace grpo {
namespace {

ModelConfig TinyConfig() {
  ModelConfig config;
  config.vocab_size = 11;
  config.hidden_size = 8;
  config.intermediate_size = 12;
  config.num_layers = 2;
  config.num_heads = 2;
  config.num_kv_heads = 1;
  config.head_dim = 4;
  config.max_positions = 32;
  config.eos_token_ids = {1};
  return config;
}

std::unique_ptr<Transformer> TinyModel(uint64_t seed) {
  auto model = Transformer::Create(TinyConfig());
  (*model)->InitializeRandom(seed);
  (*model)->RequireGrad();
  return *std::move(model);
}

// Sequences of different lengths with a prompt, advantages of both signs and sampled log-probabilities near the
// policy's.
std::vector<TokenStreams> RandomSequences(uint64_t seed, int64_t count) {
  Rng rng(seed);
  std::vector<TokenStreams> sequences(count);
  int64_t num_targets = 0;
  for (TokenStreams& sequence : sequences) {
    const int64_t prompt = 1 + rng.Below(3), size = prompt + 1 + rng.Below(9);
    for (int64_t t = 0; t < size; ++t) {
      sequence.ids.push_back(rng.Below(11));
      sequence.trainable_mask.push_back(t >= prompt);
      sequence.streams[stream::kSampleLogprob].floats().push_back(static_cast<float>(-2.4 - 0.3 * rng.Uniform()));
    }
    num_targets += size - prompt;
    sequence.streams[stream::kAdvantage].floats().assign(size, static_cast<float>(2 * rng.Uniform() - 1));
  }
  for (TokenStreams& sequence : sequences) {
    const float weight = 1.0f / static_cast<float>(num_targets);
    sequence.streams[stream::kRlWeight].floats().assign(sequence.ids.size(), weight);
    sequence.streams[stream::kKlWeight].floats().assign(sequence.ids.size(), 0.04f * weight);
  }
  return sequences;
}

// Everything that one step needs, on a rank of `group` or on one that is alone.
struct Fixture {
  explicit Fixture(int64_t micro_batch_tokens, double max_grad_norm = 0, Collectives* group = nullptr,
                   bool activation_checkpointing = false, int64_t head_chunk_bytes = kDefaultHeadChunkBytes)
      : policy(TinyModel(3)), reference(TinyModel(4)), optimizer(policy->NamedParameters(), OptimizerOptions{}) {
    const Section clip = WithNumber(WithNumber({}, "clip_low", 0.1), "clip_high", 0.1);
    std::vector<std::unique_ptr<Loss>> losses = *MakeLosses({{"clipped_policy_gradient", clip}, {"reference_kl"}});
    const std::vector<FrozenScorer> frozen = {{reference.get(), stream::kRefLogprob}};
    loop = std::make_unique<Loop>(policy.get(), frozen, std::move(losses), &optimizer,
                                  group == nullptr ? alone.get() : group,
                                  Loop::Options{.micro_batch_tokens = micro_batch_tokens,
                                                .temperature = 0.7,
                                                .max_grad_norm = max_grad_norm,
                                                .activation_checkpointing = activation_checkpointing,
                                                .head_chunk_bytes = head_chunk_bytes});
  }
  std::unique_ptr<Transformer> policy, reference;
  AdamW optimizer;
  const std::unique_ptr<Collectives> alone = Collectives::SingleRank();
  std::unique_ptr<Loop> loop;
};

double RelativeDifference(const at::Tensor& a, const at::Tensor& b) {
  const double norm = b.norm().item<double>();
  return (a - b).norm().item<double>() / (norm > 0 ? norm : 1);
}

void ExpectEqualGradients(Fixture& fixture, const std::vector<at::Tensor>& expected, double tolerance) {
  const std::vector<at::Tensor> gradients = fixture.optimizer.Gradients();
  ASSERT_EQ(gradients.size(), expected.size());
  for (size_t i = 0; i < gradients.size(); ++i)
    EXPECT_LE(RelativeDifference(gradients[i], expected[i]), tolerance) << "parameter " << i;
}

// The loss of the whole batch written out sequence by sequence, nothing packed, straight from the papers' formulas.
at::Tensor NaiveLoss(const Transformer& policy, const Transformer& reference,
                     const std::vector<TokenStreams>& sequences) {
  at::Tensor loss = at::zeros({});
  for (const TokenStreams& sequence : sequences) {
    const int64_t size = static_cast<int64_t>(sequence.ids.size());
    std::vector<int64_t> positions(size);
    for (int64_t t = 0; t < size; ++t) positions[t] = t;
    const auto logprobs = [&](const Transformer& model) {
      PackedAttention attention({size});
      return at::log_softmax(
          model.Logits(model.Forward(at::tensor(sequence.ids), at::tensor(positions), attention)) / 0.7, -1);
    };
    const at::Tensor policy_logprobs = logprobs(policy), reference_logprobs = logprobs(reference).detach();
    for (int64_t t = 1; t < size; ++t) {
      if (!sequence.trainable_mask[t]) continue;
      const at::Tensor lp = policy_logprobs[t - 1][sequence.ids[t]];
      const at::Tensor difference = reference_logprobs[t - 1][sequence.ids[t]] - lp;
      const double advantage = sequence.streams.at(stream::kAdvantage).floats()[t];
      const at::Tensor ratio = at::exp(lp - sequence.streams.at(stream::kSampleLogprob).floats()[t]);
      const at::Tensor surrogate = at::minimum(ratio * advantage, ratio.clamp(0.9, 1.1) * advantage);
      loss = loss - surrogate * sequence.streams.at(stream::kRlWeight).floats()[t];
      loss = loss + (at::exp(difference) - difference - 1) * sequence.streams.at(stream::kKlWeight).floats()[t];
    }
  }
  return loss;
}

TEST(LoopTest, GradientsAndLossEqualTheNaiveFormula) {
  const std::vector<TokenStreams> sequences = RandomSequences(21, 7);
  Fixture naive(1 << 20), fixture(1 << 20);
  const at::Tensor loss = NaiveLoss(*naive.policy, *naive.reference, sequences);
  loss.backward();
  ASSERT_OK_AND_ASSIGN(const auto result,
                       fixture.loop->Step({.minibatches = {sequences}, .iterations = 1, .metrics = {}}, 0.0));
  EXPECT_NEAR(result.metrics.at("loss"), loss.item<double>(), 1e-6);
  ExpectEqualGradients(fixture, naive.optimizer.Gradients(), 1e-5);
}

TEST(LoopTest, ReportsTheLargestDifferenceBetweenPolicyAndSampler) {
  std::vector<TokenStreams> sequences = RandomSequences(21, 7);
  // Where nothing is trained it does not count.
  sequences[2].streams[stream::kSampleLogprob].floats().front() = -1000;
  Fixture near(13), far(13);
  ASSERT_OK_AND_ASSIGN(const StepResult small,
                       near.loop->Step({.minibatches = {sequences}, .iterations = 1, .metrics = {}}, 0.0));
  sequences[4].streams[stream::kSampleLogprob].floats().back() = -20;
  ASSERT_OK_AND_ASSIGN(const StepResult large,
                       far.loop->Step({.minibatches = {sequences}, .iterations = 1, .metrics = {}}, 0.0));
  EXPECT_LT(small.metrics.at("logprob_abs_diff_max"), 5);
  EXPECT_NEAR(large.metrics.at("logprob_abs_diff_max"), 17.5, 3);
}

TEST(LoopTest, WhatSavesMemoryDoesNotChangeTheGradients) {
  const std::vector<TokenStreams> sequences = RandomSequences(21, 7);
  const StepBatch batch = {.minibatches = {sequences}, .iterations = 1, .metrics = {}};
  Fixture plain(1 << 20), checkpointed(1 << 20, 0, nullptr, /*activation_checkpointing=*/true);
  Fixture chunked(1 << 20, 0, nullptr, false, /*head_chunk_bytes=*/1);
  ASSERT_OK_AND_ASSIGN(const StepResult expected, plain.loop->Step(batch, 0.0));
  for (auto& [fixture, tolerance] : {std::pair{&checkpointed, 0.0}, {&chunked, 1e-5}}) {
    ASSERT_OK_AND_ASSIGN(const StepResult result, fixture->loop->Step(batch, 0.0));
    EXPECT_NEAR(result.metrics.at("loss"), expected.metrics.at("loss"), tolerance);
    ExpectEqualGradients(*fixture, plain.optimizer.Gradients(), tolerance);
  }
}

TEST(LoopTest, TheLossDoesNotDependOnHowTheBatchIsCutOrOrdered) {
  std::vector<TokenStreams> sequences = RandomSequences(22, 9);
  Fixture whole(1 << 20);
  ASSERT_OK_AND_ASSIGN(const auto expected,
                       whole.loop->Step({.minibatches = {sequences}, .iterations = 1, .metrics = {}}, 0.0));
  for (const int64_t micro_batch_tokens : {1, 13, 30}) {
    Shuffle(sequences, static_cast<uint64_t>(micro_batch_tokens));
    Fixture cut(micro_batch_tokens);
    ASSERT_OK_AND_ASSIGN(const auto result,
                         cut.loop->Step({.minibatches = {sequences}, .iterations = 1, .metrics = {}}, 0.0));
    EXPECT_NEAR(result.metrics.at("loss"), expected.metrics.at("loss"), 1e-6);
    EXPECT_NEAR(result.metrics.at("kl"), expected.metrics.at("kl"), 1e-6);
    EXPECT_NEAR(result.metrics.at("logprob_abs_diff_max"), expected.metrics.at("logprob_abs_diff_max"), 1e-5);
    ExpectEqualGradients(cut, whole.optimizer.Gradients(), 1e-5);
  }
}

// Three groups, each of one prompt; as they are, and with each sequence in a group of its own, which shares nothing.
TEST(LoopTest, AGroupsPromptComputedOnceChangesNothing) {
  std::vector<TokenStreams> shared = RandomSequences(23, 12);
  for (size_t i = 0; i < shared.size(); ++i) {
    shared[i].group = static_cast<int64_t>(i / 4);
    const std::vector<int64_t> prompt(5 + i / 4 * 2, 3);
    shared[i].ids.insert(shared[i].ids.begin(), prompt.begin(), prompt.end());
    shared[i].trainable_mask.insert(shared[i].trainable_mask.begin(), prompt.size(), false);
    for (auto& [name, values] : shared[i].streams) {
      values.floats().insert(values.floats().begin(), prompt.size(), 0.0f);
    }
  }
  std::vector<TokenStreams> apart = shared;
  for (size_t i = 0; i < apart.size(); ++i) apart[i].group = static_cast<int64_t>(i);
  for (const bool activation_checkpointing : {false, true}) {
    for (const int64_t micro_batch_tokens : {40, 1 << 20}) {
      Fixture one(1 << 20), other(micro_batch_tokens, 0, nullptr, activation_checkpointing);
      ASSERT_OK_AND_ASSIGN(const auto plain,
                           one.loop->Step({.minibatches = {apart}, .iterations = 1, .metrics = {}}, 0));
      ASSERT_OK_AND_ASSIGN(const auto once,
                           other.loop->Step({.minibatches = {shared}, .iterations = 1, .metrics = {}}, 0));
      EXPECT_NEAR(once.metrics.at("loss"), plain.metrics.at("loss"), 1e-6);
      EXPECT_NEAR(once.metrics.at("logprob_abs_diff_max"), plain.metrics.at("logprob_abs_diff_max"), 1e-6);
      ExpectEqualGradients(other, one.optimizer.Gradients(), 1e-6);
    }
  }
}

TEST(LoopTest, ClipsToTheGlobalNormAndReportsItBefore) {
  Fixture fixture(1 << 20, /*max_grad_norm=*/1e-3);
  ASSERT_OK_AND_ASSIGN(
      const auto result,
      fixture.loop->Step({.minibatches = {RandomSequences(23, 5)}, .iterations = 1, .metrics = {}}, 0.0));
  double squares = 0;
  for (const at::Tensor& gradient : fixture.optimizer.Gradients())
    squares += std::pow(gradient.norm().item<double>(), 2);
  EXPECT_GT(result.metrics.at("grad_norm"), 1e-3);
  EXPECT_NEAR(std::sqrt(squares), 1e-3, 1e-8);
}

TEST(LoopTest, ANonFiniteLossLeavesTheWeightsAndIsCounted) {
  std::vector<TokenStreams> sequences = RandomSequences(24, 3);
  sequences[1].streams[stream::kAdvantage].floats().back() = NAN;
  Fixture fixture(1 << 20);
  std::vector<at::Tensor> before;
  for (const auto& [name, parameter] : fixture.policy->NamedParameters()) before.push_back(parameter.detach().clone());
  ASSERT_OK_AND_ASSIGN(const auto result,
                       fixture.loop->Step({.minibatches = {sequences}, .iterations = 1, .metrics = {}}, 1e-2));
  EXPECT_EQ(result.metrics.at("skipped_updates"), 1);
  EXPECT_EQ(fixture.optimizer.num_steps(), 0);
  size_t i = 0;
  for (const auto& [name, parameter] : fixture.policy->NamedParameters())
    EXPECT_TRUE(parameter.detach().equal(before[i++])) << name;
}

// Whatever one rank finds counts for all, and so does a rank's empty part.
TEST(LoopTest, ANonFiniteLossOnOneRankLeavesTheWeightsOfAllAndIsCounted) {
  std::vector<TokenStreams> sequences = RandomSequences(24, 2);
  sequences[1].streams[stream::kAdvantage].floats().back() = NAN;
  const std::vector<StepBatch> parts = ShareOut({.minibatches = {sequences}, .iterations = 1, .metrics = {}}, 3);
  RunRanks(3, [&](Collectives& collectives) {
    Fixture fixture(1 << 20, /*max_grad_norm=*/1, &collectives);
    const std::string before = WeightsHash(fixture.policy->NamedParameters());
    ASSERT_OK_AND_ASSIGN(const StepResult result, fixture.loop->Step(parts[collectives.rank()], 1e-2));
    EXPECT_EQ(result.metrics.at("skipped_updates"), 1);
    EXPECT_EQ(result.weights_hash, before);
    EXPECT_EQ(fixture.optimizer.num_steps(), 0);
  });
}

TEST(LoopTest, RanksEndAStepWithTheSameWeights) {
  const StepBatch batch{
      .minibatches = {RandomSequences(27, 9), RandomSequences(28, 2)}, .iterations = 2, .metrics = {}};
  const std::vector<StepBatch> parts = ShareOut(batch, 3);
  std::vector<std::string> hashes(3);
  RunRanks(3, [&](Collectives& collectives) {
    Fixture fixture(13, /*max_grad_norm=*/0.1, &collectives);
    ASSERT_OK_AND_ASSIGN(const StepResult result, fixture.loop->Step(parts[collectives.rank()], 1e-2));
    hashes[collectives.rank()] = result.weights_hash;
    EXPECT_EQ(fixture.optimizer.num_steps(), 4);
  });
  EXPECT_EQ(hashes[1], hashes[0]);
  EXPECT_EQ(hashes[2], hashes[0]);
}

TEST(LoopTest, UpdatesOncePerMinibatchAndIteration) {
  Fixture fixture(1 << 20);
  const StepBatch batch{
      .minibatches = {RandomSequences(25, 3), RandomSequences(26, 3)}, .iterations = 3, .metrics = {{"reward", 0.5}}};
  ASSERT_OK_AND_ASSIGN(const auto result, fixture.loop->Step(batch, 1e-3));
  EXPECT_EQ(fixture.optimizer.num_steps(), 6);
  EXPECT_EQ(result.metrics.at("reward"), 0.5);
  EXPECT_EQ(result.metrics.at("learning_rate"), 1e-3);
}

TEST(LoopTest, SaysWhereTheStepsTimeWent) {
  for (const bool activation_checkpointing : {false, true}) {
    Fixture fixture(/*micro_batch_tokens=*/13, /*max_grad_norm=*/1, nullptr, activation_checkpointing);
    const absl::Duration begin = Clock::Real().Now();
    ASSERT_OK_AND_ASSIGN(
        const auto result,
        fixture.loop->Step({.minibatches = {RandomSequences(25, 9)}, .iterations = 2, .metrics = {}}, 1e-3));
    const double whole = absl::ToDoubleSeconds(Clock::Real().Now() - begin);
    double sum = 0;
    for (const char* phase :
         {"pack", "forward", "head", "head_backward", "backward", "reduce", "optimizer", "compare"}) {
      const double seconds = result.metrics.at(absl::StrCat(phase, "_seconds"));
      EXPECT_GT(seconds, 0) << phase;
      sum += seconds;
    }
    EXPECT_LE(sum, whole);
  }
}

// Reads two frozen policies and reports what it sees of them.
class TwoTeachers : public Loss {
 public:
  std::vector<std::string> streams() const override { return {"first", "second"}; }
  LossOutput Compute(const LossInput& input) const override {
    LossOutput output;
    output.loss = (input.policy_logprob * input.streams.at("first").exp()).sum();
    output.sums["first"] = input.streams.at("first").sum();
    output.sums["second"] = input.streams.at("second").sum();
    return output;
  }
};

StepBatch OneMinibatch(uint64_t seed) {
  return {.minibatches = {RandomSequences(seed, 5)}, .iterations = 1, .metrics = {}};
}

TEST(LoopTest, EachFrozenPolicyFillsItsStream) {
  Fixture fixture(1 << 20);
  const auto sums_with = [&](const Transformer* first, const Transformer* second) {
    std::vector<std::unique_ptr<Loss>> losses;
    losses.push_back(std::make_unique<TwoTeachers>());
    Loop loop(fixture.policy.get(), {{first, "first"}, {second, "second"}}, std::move(losses), &fixture.optimizer,
              fixture.alone.get(), {.micro_batch_tokens = 13});
    const auto result = loop.Step(OneMinibatch(29), 0.0);
    EXPECT_OK(result.status());
    return std::pair(result->metrics.at("first"), result->metrics.at("second"));
  };
  const auto teacher = TinyModel(5);
  const auto [reference_first, teacher_second] = sums_with(fixture.reference.get(), teacher.get());
  const auto [teacher_first, reference_second] = sums_with(teacher.get(), fixture.reference.get());
  EXPECT_EQ(teacher_first, teacher_second);
  EXPECT_EQ(reference_first, reference_second);
  EXPECT_NE(teacher_first, reference_first);
  for (const auto& [name, parameter] : teacher->NamedParameters()) EXPECT_FALSE(parameter.grad().defined()) << name;
}

TEST(LoopTest, AStreamThatNobodyFillsIsNamed) {
  Fixture fixture(1 << 20);
  std::vector<std::unique_ptr<Loss>> losses;
  losses.push_back(std::make_unique<TwoTeachers>());
  Loop loop(fixture.policy.get(), {{fixture.reference.get(), "first"}}, std::move(losses), &fixture.optimizer,
            fixture.alone.get(), {});
  EXPECT_STATUS(loop.Step(OneMinibatch(30), 0.0), absl::StatusCode::kInvalidArgument, "a loss reads second");
}

}  // namespace
}  // namespace grpo
