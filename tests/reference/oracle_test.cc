// trainer/ (from a step's scored groups through algorithm, losses, packing, loop and optimizer) equals the oracle, for
// each switch of the algorithm.
#include "tests/reference/oracle.h"

#include <ATen/TensorOperators.h>

#include <algorithm>
#include <map>
#include <ostream>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/seeds.h"
#include "common/status_testing.h"
#include "configs/load.h"
#include "gmock/gmock.h"
#include "trainer/algorithm/algorithm.h"
#include "trainer/batch/share.h"
#include "trainer/dist/rank_testing.h"
#include "trainer/loop.h"

namespace grpo {
namespace {

// Of one tensor, relative to its norm.
constexpr double kTolerance = 1e-5;
constexpr int kSteps = 3;
constexpr int kNumRanks[] = {1, 2, 3};
constexpr int64_t kVocabulary = 11;

ModelConfig TinyConfig() {
  ModelConfig config;
  config.vocab_size = kVocabulary;
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
std::unique_ptr<Transformer> Policy() {
  return TinyModel(3);
}
std::unique_ptr<Transformer> Reference() {
  return TinyModel(4);
}

std::vector<int64_t> RandomIds(Rng& rng, int64_t size) {
  std::vector<int64_t> ids;
  for (int64_t t = 0; t < size; ++t) ids.push_back(rng.Below(kVocabulary));
  return ids;
}

// A completion whose middle the policy did not write, sampled so far from the policy that clipping has work to do.
OracleSample RandomSample(Rng& rng, const Transformer& policy, std::vector<int64_t> prefix) {
  OracleSample sample;
  sample.ids = RandomIds(rng, 1 + rng.Below(6));
  const int64_t size = static_cast<int64_t>(sample.ids.size());
  for (int64_t t = 0; t < size; ++t) {
    const double logprob = TokenLogprob(policy, prefix, sample.ids[t], /*temperature=*/1).item<double>();
    // The wire carries float32.
    sample.sample_logprob.push_back(static_cast<float>(logprob + 0.8 * rng.Uniform() - 0.4));
    sample.trainable_mask.push_back(size < 4 || t != size / 2);
    prefix.push_back(sample.ids[t]);
  }
  sample.reward = 0.5 * static_cast<double>(rng.Below(3)) + 0.1 * static_cast<double>(rng.Below(2));
  return sample;
}

// Groups whose deviations differ, one of equal rewards, and one with excluded samples.
std::vector<OracleGroup> MakeGroups(uint64_t seed) {
  Rng rng(seed);
  const auto policy = Policy();
  std::vector<OracleGroup> groups(4);
  for (OracleGroup& group : groups) {
    group.prompt_ids = RandomIds(rng, 1 + rng.Below(3));
    for (int i = 0; i < 4; ++i) group.samples.push_back(RandomSample(rng, *policy, group.prompt_ids));
  }
  for (OracleSample& sample : groups[1].samples) sample.reward = 0.1;
  groups[2].samples[0].reward.reset();
  groups[2].samples[3].reward.reset();
  return groups;
}

// Made once, by the test's main thread: the forward passes behind the sampled log-probabilities take time.
const std::vector<OracleGroup>& RandomGroups(uint64_t seed) {
  static auto* made = new std::map<uint64_t, std::vector<OracleGroup>>;
  const auto [entry, fresh] = made->try_emplace(seed);
  if (fresh) entry->second = MakeGroups(seed);
  return entry->second;
}

// The same as it comes from the coordinator.
StepInput ToStepInput(const std::vector<OracleGroup>& groups) {
  RolloutInput input;
  for (const OracleGroup& group : groups) {
    ScoredGroup& scored_group = input.groups.emplace_back();
    scored_group.prompt_ids.assign(group.prompt_ids.begin(), group.prompt_ids.end());
    for (const OracleSample& sample : group.samples) {
      v1::ScoredCompletion& scored = scored_group.completions.emplace_back();
      for (size_t t = 0; t < sample.ids.size(); ++t) {
        scored.mutable_completion()->add_ids(static_cast<uint32_t>(sample.ids[t]));
        scored.mutable_completion()->add_sample_logprob(static_cast<float>(sample.sample_logprob[t]));
        v1::Span& span = *scored.mutable_completion()->add_spans();
        span.set_num_tokens(1);
        span.set_trainable(sample.trainable_mask[t]);
      }
      scored.mutable_score()->set_outcome(v1::OUTCOME_SCORED);
      // What an excluded score says must not be read.
      scored.mutable_score()->set_value(sample.reward.value_or(17));
      scored.mutable_score()->set_excluded(!sample.reward);
    }
  }
  return input;
}

// One setting of the switches: the keys of the configuration, and what they mean.
struct Case {
  std::string name, keys;
  OracleOptions oracle;
};
void PrintTo(const Case& c, std::ostream* out) {
  *out << c.name;
}

const std::vector<Case>& Cases() {
  static const auto* cases = new std::vector<Case>{
      {"Defaults", "", {}},
      {"RewardsNotScaled", "scale_rewards: none", {.scale_rewards = false}},
      {"StdEps", "std_eps: 0.5", {.std_eps = 0.5}},
      {"SequenceMean", "loss_reduction: sequence_mean", {.token_mean = false}},
      {"ClipLow", "clip_low: 0.05", {.clip_low = 0.05}},
      {"ClipHigh", "clip_high: 0.05", {.clip_high = 0.05}},
      {"Kl", "kl_coefficient: 0.5, reference_policy: base", {.kl_coefficient = 0.5}},
      {"Temperature", "sampling: {temperature: 0.7}", {.temperature = 0.7}},
      {"Iterations", "iterations_per_step: 2", {.iterations_per_step = 2}},
      {"Minibatches", "minibatches_per_iteration: 3", {.minibatches_per_iteration = 3}},
      {"MaxGradNorm", "", {.max_grad_norm = 0.2}},
      {"WeightDecay", "", {.weight_decay = 0.3}},
      {"Betas", "", {.beta1 = 0.5, .beta2 = 0.6}},
      {"Eps", "", {.eps = 1e-2}},
      {"LearningRate", "", {.learning_rate = 1e-3}},
      {"Everything",
       "scale_rewards: none, loss_reduction: sequence_mean, clip_low: 0.1, clip_high: 0.28, kl_coefficient: 0.1, "
       "reference_policy: base, sampling: {temperature: 1.3}, iterations_per_step: 2, minibatches_per_iteration: 2",
       {.scale_rewards = false,
        .token_mean = false,
        .clip_low = 0.1,
        .clip_high = 0.28,
        .kl_coefficient = 0.1,
        .temperature = 1.3,
        .iterations_per_step = 2,
        .minibatches_per_iteration = 2,
        .weight_decay = 0.1,
        .max_grad_norm = 0.2}},
  };
  return *cases;
}

OptimizerOptions ToOptimizerOptions(const OracleOptions& options) {
  OptimizerOptions optimizer;
  optimizer.beta1 = options.beta1;
  optimizer.beta2 = options.beta2;
  optimizer.eps = options.eps;
  optimizer.weight_decay = options.weight_decay;
  return optimizer;
}

// One rank of the trainer, put together as a train stage does.
class Trainer {
 public:
  Trainer(const Case& c, int64_t micro_batch_tokens, Collectives& collectives)
      : options_(c.oracle),
        collectives_(collectives),
        optimizer_(policy_->NamedParameters(), ToOptimizerOptions(c.oracle)) {
    const auto section = ParseConfigText(absl::StrCat("{rewards: r, group_size: 4, ", c.keys, "}"), c.name);
    algorithm_ = *MakeAlgorithm("grpo", *section);
    std::vector<FrozenScorer> frozen;
    for (const FrozenPolicy& policy : algorithm_->frozen()) frozen.push_back({reference_.get(), policy.stream});
    loop_ = std::make_unique<Loop>(policy_.get(), std::move(frozen), *MakeLosses(algorithm_->losses()), &optimizer_,
                                   &collectives_,
                                   Loop::Options{.micro_batch_tokens = micro_batch_tokens,
                                                 .temperature = algorithm_->temperature(),
                                                 .max_grad_norm = c.oracle.max_grad_norm});
  }

  absl::StatusOr<double> Step(const std::vector<OracleGroup>& groups) {
    ASSIGN_OR_RETURN(StepBatch batch, algorithm_->Prepare(ToStepInput(groups)));
    const std::vector<StepBatch> parts = ShareOut(std::move(batch), collectives_.world_size());
    ASSIGN_OR_RETURN(const StepResult result, loop_->Step(parts[collectives_.rank()], options_.learning_rate));
    return result.metrics.at("loss");
  }
  const Transformer& policy() const { return *policy_; }
  std::vector<at::Tensor> Gradients() { return optimizer_.Gradients(); }

 private:
  const OracleOptions options_;
  Collectives& collectives_;
  const std::unique_ptr<Transformer> policy_ = Policy(), reference_ = Reference();
  AdamW optimizer_;
  std::unique_ptr<Algorithm> algorithm_;
  std::unique_ptr<Loop> loop_;
};

std::vector<at::Tensor> Weights(const Transformer& policy) {
  std::vector<at::Tensor> weights;
  for (const auto& [name, parameter] : policy.NamedParameters()) weights.push_back(parameter.detach().to(at::kDouble));
  return weights;
}

double RelativeDifference(const at::Tensor& actual, const at::Tensor& expected) {
  return ((actual - expected).norm() / expected.norm()).item<double>();
}

void ExpectEqual(const std::vector<at::Tensor>& actual, const std::vector<at::Tensor>& expected) {
  const NamedTensors parameters = Policy()->NamedParameters();
  ASSERT_EQ(actual.size(), parameters.size());
  ASSERT_EQ(expected.size(), parameters.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    EXPECT_GT(expected[i].norm().item<double>(), 0) << parameters[i].first;
    EXPECT_LE(RelativeDifference(actual[i], expected[i]), kTolerance) << parameters[i].first;
  }
}

// The case as a step that neither clips nor moves, so that the gradients of its last update can be seen.
Case WithoutMoving(Case c) {
  c.oracle.max_grad_norm = 0;
  c.oracle.learning_rate = 0;
  return c;
}

std::vector<at::Tensor> OracleWeights(const OracleOptions& options) {
  const auto policy = Policy(), reference = Reference();
  Oracle oracle(policy.get(), reference.get(), options);
  for (int step = 0; step < kSteps; ++step) oracle.Step(RandomGroups(step));
  return Weights(*policy);
}

class OracleTest : public ::testing::TestWithParam<Case> {};

TEST_P(OracleTest, GradientsBeforeClippingAreEqual) {
  const Case c = WithoutMoving(GetParam());
  const std::vector<OracleGroup> groups = RandomGroups(7);
  const auto policy = Policy(), reference = Reference();
  Oracle oracle(policy.get(), reference.get(), c.oracle);
  const double expected_loss = oracle.Step(groups);
  for (const int num_ranks : kNumRanks) {
    RunRanks(num_ranks, [&](Collectives& collectives) {
      Trainer trainer(c, /*micro_batch_tokens=*/64, collectives);
      ASSERT_OK_AND_ASSIGN(const double loss, trainer.Step(groups));
      EXPECT_NEAR(loss, expected_loss, 1e-6);
      ExpectEqual(trainer.Gradients(), oracle.gradients());
    });
  }
}

TEST_P(OracleTest, WeightsAfterThreeStepsAreEqual) {
  const std::vector<at::Tensor> expected = OracleWeights(GetParam().oracle);
  for (const int num_ranks : kNumRanks) {
    RunRanks(num_ranks, [&](Collectives& collectives) {
      Trainer trainer(GetParam(), /*micro_batch_tokens=*/64, collectives);
      for (int step = 0; step < kSteps; ++step) ASSERT_OK(trainer.Step(RandomGroups(step)));
      ExpectEqual(Weights(trainer.policy()), expected);
    });
  }

  // The data show this switch: without it the weights would differ by far more than the tolerance.
  if (GetParam().name == "Defaults") return;
  static const auto* defaults = new std::vector<at::Tensor>(OracleWeights({}));
  double largest = 0;
  for (size_t i = 0; i < expected.size(); ++i)
    largest = std::max(largest, RelativeDifference((*defaults)[i], expected[i]));
  EXPECT_GT(largest, 10 * kTolerance);
}

INSTANTIATE_TEST_SUITE_P(EachSwitch, OracleTest, ::testing::ValuesIn(Cases()),
                         [](const auto& param_info) { return param_info.param.name; });

// docs/design.md law 4: the oracle knows nothing of micro-batches and takes the groups as they came.
TEST(OracleOrderTest, AnyOrderOfGroupsAndAnyMicroBatchesAreEqual) {
  const Case c = {"Kl", "kl_coefficient: 0.5, reference_policy: base", {.kl_coefficient = 0.5}};
  const std::vector<OracleGroup> groups = RandomGroups(7);
  const auto policy = Policy(), reference = Reference();
  Oracle oracle(policy.get(), reference.get(), WithoutMoving(c).oracle);
  oracle.Step(groups);
  const std::vector<at::Tensor> expected_weights = OracleWeights(c.oracle);
  const auto collectives = Collectives::SingleRank();
  for (const int64_t micro_batch_tokens : {1, 7, 19, 50, 1 << 20}) {
    const auto shuffled = [&](std::vector<OracleGroup> original) {
      Shuffle(original, static_cast<uint64_t>(micro_batch_tokens));
      return original;
    };
    Trainer still(WithoutMoving(c), micro_batch_tokens, *collectives), moving(c, micro_batch_tokens, *collectives);
    ASSERT_OK(still.Step(shuffled(groups)));
    ExpectEqual(still.Gradients(), oracle.gradients());
    for (int step = 0; step < kSteps; ++step) ASSERT_OK(moving.Step(shuffled(RandomGroups(step))));
    ExpectEqual(Weights(moving.policy()), expected_weights);
  }
}

// The oracle by hand: rewards 1, 0, 0, 0 have mean 1/4 and deviation 1/2 (ddof 1).
TEST(OracleAdvantagesTest, OfOneRightAnswerInFour) {
  OracleGroup group;
  for (const double reward : {1, 0, 0, 0}) group.samples.emplace_back().reward = reward;
  group.samples.emplace_back();  // excluded
  EXPECT_THAT(OracleAdvantages(group, {.std_eps = 0}), ::testing::ElementsAre(1.5, -0.5, -0.5, -0.5, 0));
  EXPECT_THAT(OracleAdvantages(group, {.scale_rewards = false}), ::testing::ElementsAre(0.75, -0.25, -0.25, -0.25, 0));
}

}  // namespace
}  // namespace grpo
