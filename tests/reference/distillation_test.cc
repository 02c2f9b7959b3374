// Every way of distilling, from traces or groups through algorithm, losses, packing, loop and optimizer: the loss and
// its gradients are those of the formulas written out in plain ATen, sequence by sequence; and nothing changes with the
// size of chunks and micro-batches, activation checkpointing, the order of the data or the number of ranks
// (docs/design.md law 4).
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cosine_similarity.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <variant>

#include "absl/strings/str_cat.h"
#include "common/seeds.h"
#include "common/status_testing.h"
#include "configs/load.h"
#include "trainer/algorithm/algorithm.h"
#include "trainer/batch/share.h"
#include "trainer/dist/rank_testing.h"
#include "trainer/loop.h"

namespace grpo {
namespace {

constexpr int64_t kVocabulary = 11, kTopK = 3;
constexpr double kTolerance = 1e-5;

ModelConfig Shape(int64_t hidden_size, int64_t num_layers) {
  ModelConfig config;
  config.vocab_size = kVocabulary;
  config.hidden_size = hidden_size;
  config.intermediate_size = 12;
  config.num_layers = num_layers;
  config.num_heads = 2;
  config.num_kv_heads = 1;
  config.head_dim = 4;
  config.max_positions = 32;
  config.eos_token_ids = {1};
  return config;
}

std::unique_ptr<Transformer> Model(const ModelConfig& config, uint64_t seed) {
  auto model = Transformer::Create(config);
  (*model)->InitializeRandom(seed);
  // The initial weights say nearly the same of every token; these do not.
  for (const auto& [name, parameter] : (*model)->NamedParameters()) {
    const at::NoGradGuard no_grad;
    if (name == "model.embed_tokens.weight") parameter.mul_(30);
  }
  return *std::move(model);
}

// A student, a wider and deeper teacher and another one, an algorithm by its keys, and what learns by it.
struct Trainee {
  struct Switches {
    int64_t micro_batch_tokens = 1 << 20;
    int64_t head_chunk_bytes = kDefaultHeadChunkBytes;
    bool activation_checkpointing = false;
  };

  Trainee(const std::string& name, const std::string& keys, Switches switches, Collectives* collectives)
      : student(Model(Shape(8, 2), 3)), teacher(Model(Shape(12, 4), 4)), other(Model(Shape(8, 2), 5)) {
    student->RequireGrad();
    algorithm = *MakeAlgorithm(name, *ParseConfigText(keys, "keys"));
    std::vector<std::unique_ptr<Loss>> losses = *MakeLosses(algorithm->losses());
    const std::map<std::string, const Transformer*> models = {{"teacher", teacher.get()}, {"other", other.get()}};
    std::vector<FrozenScorer> frozen;
    LossModels shapes = {.policy = student->config(), .frozen = {}, .seed = 9};
    for (const FrozenPolicy& policy : algorithm->frozen()) {
      frozen.push_back({models.at(policy.policy), policy.stream, policy.policy});
      shapes.frozen[policy.policy] = &models.at(policy.policy)->config();
    }
    for (const auto& loss : losses) {
      EXPECT_OK(loss->Begin(shapes));
      for (const auto& named : loss->parameters()) own.push_back(named);
    }
    OptimizerOptions options;
    options.max_grad_norm = 0;
    optimizer = std::make_unique<AdamW>(student->NamedParameters(), options, own);
    loop = std::make_unique<Loop>(student.get(), frozen, std::move(losses), optimizer.get(), collectives,
                                  Loop::Options{.micro_batch_tokens = switches.micro_batch_tokens,
                                                .temperature = algorithm->temperature(),
                                                .max_grad_norm = 0,
                                                .activation_checkpointing = switches.activation_checkpointing,
                                                .head_chunk_bytes = switches.head_chunk_bytes});
  }

  // The weights after some steps, the losses' own behind the policy's, and the last step's metrics.
  struct Outcome {
    std::vector<at::Tensor> weights;
    std::map<std::string, double> metrics;
  };
  Outcome Learn(const StepInput& input, Collectives& collectives) {
    Outcome outcome;
    for (int step = 0; step < 3; ++step) {
      std::vector<StepBatch> parts = ShareOut(*algorithm->Prepare(input), collectives.world_size());
      auto result = loop->Step(parts[collectives.rank()], 1e-2, step / 3.0);
      EXPECT_OK(result.status());
      if (result.ok()) outcome.metrics = result->metrics;
    }
    for (const auto& [name, parameter] : student->NamedParameters()) outcome.weights.push_back(parameter.detach());
    for (const auto& [name, parameter] : own) outcome.weights.push_back(parameter.detach());
    return outcome;
  }

  std::unique_ptr<Transformer> student, teacher, other;
  std::unique_ptr<Algorithm> algorithm;
  NamedTensors own;
  std::unique_ptr<AdamW> optimizer;
  std::unique_ptr<Loop> loop;
};

std::vector<uint32_t> RandomIds(Rng& rng, int64_t size) {
  std::vector<uint32_t> ids;
  for (int64_t t = 0; t < size; ++t) ids.push_back(static_cast<uint32_t>(rng.Below(kVocabulary)));
  return ids;
}

TokenizedTrace RandomTrace(Rng& rng, int64_t stored_top_k) {
  TokenizedTrace trace;
  trace.prompt_ids = RandomIds(rng, 1 + rng.Below(3));
  trace.completion_ids = RandomIds(rng, 1 + rng.Below(8));
  for (size_t t = 0; t < trace.completion_ids.size() && stored_top_k > 0; ++t) {
    for (int64_t k = 0; k < stored_top_k; ++k) {
      // Distinct ids, whose probabilities sum to less than 1.
      trace.top_ids.push_back(static_cast<uint32_t>((trace.completion_ids[t] + 4 * k) % kVocabulary));
      trace.top_logprobs.push_back(static_cast<float>(-1.2 - k - 0.3 * rng.Uniform()));
    }
  }
  return trace;
}

StepInput RandomInput(const Algorithm& algorithm, uint64_t seed) {
  Rng rng(seed);
  const StepPlan plan = algorithm.plan();
  if (const auto* const traces_plan = std::get_if<TracesPlan>(&plan)) {
    TracesInput input;
    for (int i = 0; i < 7; ++i) input.traces.push_back(RandomTrace(rng, traces_plan->stored_top_k));
    return input;
  }
  RolloutInput input;
  for (int64_t g = 0; g < 4; ++g) {
    ScoredGroup& group = input.groups.emplace_back();
    group.prompt_ids = RandomIds(rng, 1 + rng.Below(3));
    for (int64_t i = 0; i < 3; ++i) {
      v1::ScoredCompletion& scored = group.completions.emplace_back();
      v1::Completion& completion = *scored.mutable_completion();
      for (const uint32_t id : RandomIds(rng, 1 + rng.Below(6))) {
        completion.add_ids(id);
        completion.add_sample_logprob(static_cast<float>(-2 - rng.Uniform()));
      }
      v1::Span& span = *completion.add_spans();
      span.set_num_tokens(completion.ids_size());
      span.set_trainable(true);
      scored.mutable_score()->set_outcome(v1::OUTCOME_SCORED);
      scored.mutable_score()->set_value(static_cast<double>(rng.Below(2)));
    }
  }
  if (!std::get<RolloutPlan>(plan).traces_data.empty()) {
    for (int i = 0; i < 3; ++i) input.traces.push_back(RandomTrace(rng, 0));
  }
  return input;
}

double RelativeDifference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).norm().item<double>() / std::max(1e-6, b.norm().item<double>());
}

struct Case {
  std::string name, algorithm, keys;
};

// As a test's parameter is printed.
void PrintTo(const Case& of, std::ostream* out) {
  *out << of.name;
}

const std::vector<Case>& Cases() {
  static const auto* const cases = new std::vector<Case>{
      {"SoftLabels", "logit_distill",
       "{teachers: [{policy: teacher, temperature: {start: 3, end: 1, shape: linear}}], alpha: {start: 0.3}}"},
      {"TwoTeachersReverse", "logit_distill",
       "{teachers: [{policy: teacher, weight: 2}, {policy: other, temperature: {start: 2}}], alpha: {start: 0}, "
       "divergence: {type: reverse_kl}, temperature_squared: false, loss_reduction: sequence_mean}"},
      {"TopKBucket", "logit_distill", "{teachers: [{policy: teacher}], top_k: 3, divergence: {type: jensen_shannon}}"},
      {"TopKRenormalised", "logit_distill", "{teachers: [{policy: teacher}], top_k: 3, tail: renormalised}"},
      {"TopKDropped", "logit_distill", "{teachers: [{policy: teacher}], top_k: 3, tail: dropped}"},
      {"Stored", "logit_distill", "{teachers: [{stored: true}], top_k: 3}"},
      {"Features", "feature_distill",
       "{features: {teacher: teacher, cosine_weight: 0.5}, teachers: [{policy: teacher}]}"},
      {"OnPolicy", "on_policy_distill",
       "{rewards: r, group_size: 3, teachers: [{policy: teacher}], divergence: {type: reverse_kl}, reward_weight: 0.5, "
       "lambda: 0.6, traces: t, sampling: {temperature: 0.8}}"},
      {"OnPolicySampledToken", "on_policy_distill",
       "{rewards: r, group_size: 3, teachers: [{policy: teacher}], sampled_token: true, lambda: 0.6, traces: t, "
       "reward_weight: 1}"},
  };
  return *cases;
}

class DistillationTest : public ::testing::TestWithParam<Case> {
 protected:
  Trainee::Outcome Learn(Trainee::Switches switches, bool reversed = false) {
    const auto alone = Collectives::SingleRank();
    Trainee trainee(GetParam().algorithm, GetParam().keys, switches, alone.get());
    StepInput input = RandomInput(*trainee.algorithm, 21);
    if (reversed) {
      if (auto* const traces = std::get_if<TracesInput>(&input)) {
        std::reverse(traces->traces.begin(), traces->traces.end());
      } else {
        auto& groups = std::get<RolloutInput>(input);
        std::reverse(groups.groups.begin(), groups.groups.end());
        std::reverse(groups.traces.begin(), groups.traces.end());
      }
    }
    return trainee.Learn(input, *alone);
  }
  static void ExpectSame(const Trainee::Outcome& a, const Trainee::Outcome& b) {
    ASSERT_EQ(a.weights.size(), b.weights.size());
    for (size_t i = 0; i < a.weights.size(); ++i)
      EXPECT_LE(RelativeDifference(a.weights[i], b.weights[i]), kTolerance) << "parameter " << i;
    for (const auto& [name, value] : b.metrics) {
      if (name.ends_with("_seconds")) continue;
      EXPECT_NEAR(a.metrics.at(name), value, 3 * kTolerance * (1 + std::abs(value))) << name;
    }
  }
};

TEST_P(DistillationTest, NeitherChunksNorMicroBatchesNorOrderChangeAnything) {
  const Trainee::Outcome whole = Learn({});
  // One row of logits at a time.
  ExpectSame(Learn({.head_chunk_bytes = 1}), whole);
  ExpectSame(Learn({.micro_batch_tokens = 9}), whole);
  ExpectSame(Learn({.micro_batch_tokens = 14, .activation_checkpointing = true}), whole);
  ExpectSame(Learn({}, /*reversed=*/true), whole);
}

TEST_P(DistillationTest, ThreeRanksLearnWhatOneDoes) {
  const Trainee::Outcome alone = Learn({});
  for (const int num_ranks : {2, 3}) {
    RunRanks(num_ranks, [&](Collectives& collectives) {
      Trainee trainee(GetParam().algorithm, GetParam().keys, {.micro_batch_tokens = 12}, &collectives);
      const Trainee::Outcome outcome = trainee.Learn(RandomInput(*trainee.algorithm, 21), collectives);
      for (size_t i = 0; i < alone.weights.size(); ++i)
        EXPECT_LE(RelativeDifference(outcome.weights[i], alone.weights[i]), kTolerance) << "parameter " << i;
    });
  }
}

TEST_P(DistillationTest, TheLossFallsWhereTheTeacherIsFollowed) {
  const auto alone = Collectives::SingleRank();
  Trainee trainee(GetParam().algorithm, GetParam().keys, {}, alone.get());
  const StepInput input = RandomInput(*trainee.algorithm, 22);
  std::vector<double> losses;
  for (int step = 0; step < 30; ++step)
    losses.push_back(trainee.loop->Step(*trainee.algorithm->Prepare(input), 1e-2)->metrics.at("loss"));
  EXPECT_LT(losses.back(), losses.front());
}

INSTANTIATE_TEST_SUITE_P(EveryWay, DistillationTest, ::testing::ValuesIn(Cases()),
                         [](const auto& info) { return info.param.name; });

// --- The formulas written out ---

// Of one trace: what a model says behind each token and what leaves its layers.
struct Said {
  at::Tensor logits;  // [T, V]
  LayerOutputs layers;
};
Said Says(const Transformer& model, const TokenizedTrace& trace, LayerOutputs layers) {
  std::vector<int64_t> ids(trace.prompt_ids.begin(), trace.prompt_ids.end()), positions;
  ids.insert(ids.end(), trace.completion_ids.begin(), trace.completion_ids.end());
  for (size_t t = 0; t < ids.size(); ++t) positions.push_back(static_cast<int64_t>(t));
  PackedAttention attention({static_cast<int64_t>(ids.size())});
  Said said = {.logits = {}, .layers = std::move(layers)};
  said.logits = model.Logits(model.Forward(at::tensor(ids), at::tensor(positions), attention, nullptr, &said.layers));
  return said;
}

// 0.3 cross-entropy + 0.7 * 4 KL(p || q) at temperature 2 + features of three pairs, token mean.
at::Tensor WrittenOut(const Trainee& trainee, const std::vector<TokenizedTrace>& traces) {
  const std::vector<std::pair<int64_t, int64_t>> pairs = {{1, 2}, {2, 4}};
  at::Tensor loss = at::zeros({});
  double num_tokens = 0;
  for (const TokenizedTrace& trace : traces) {
    const Said student = Says(*trainee.student, trace, {{1, {}}, {2, {}}});
    const Said teacher = Says(*trainee.teacher, trace, {{2, {}}, {4, {}}});
    for (size_t t = 0; t < trace.completion_ids.size(); ++t, ++num_tokens) {
      const auto row = static_cast<int64_t>(trace.prompt_ids.size() + t) - 1;
      loss = loss - 0.3 * at::log_softmax(student.logits[row], -1)[trace.completion_ids[t]];
      const at::Tensor log_p = at::log_softmax(teacher.logits[row].detach() / 2, -1);
      loss = loss + 0.7 * 4 * (at::exp(log_p) * (log_p - at::log_softmax(student.logits[row] / 2, -1))).sum();
      for (size_t i = 0; i < pairs.size(); ++i) {
        const at::Tensor of_student = trainee.own[i].second.matmul(student.layers.at(pairs[i].first)[row]);
        const at::Tensor wanted = teacher.layers.at(pairs[i].second)[row].detach();
        loss = loss +
               0.5 * ((of_student - wanted).square().mean() + 0.5 * (1 - at::cosine_similarity(of_student, wanted, 0)));
      }
    }
  }
  return loss / num_tokens;
}

TEST(DistillationFormulaTest, SoftLabelsAndFeaturesEqualTheFormulasWrittenOut) {
  const char* const keys =
      "{alpha: {start: 0.3}, teachers: [{policy: teacher, temperature: {start: 2}}], features: {teacher: teacher, "
      "cosine_weight: 0.5}}";
  const auto alone = Collectives::SingleRank();
  Trainee fast("logit_distill", keys, {.micro_batch_tokens = 16, .head_chunk_bytes = 400}, alone.get());
  Trainee naive("logit_distill", keys, {}, alone.get());
  const StepInput input = RandomInput(*fast.algorithm, 23);
  const at::Tensor loss = WrittenOut(naive, std::get<TracesInput>(input).traces);
  loss.backward();
  ASSERT_OK_AND_ASSIGN(const StepBatch batch, fast.algorithm->Prepare(input));
  ASSERT_OK_AND_ASSIGN(const StepResult result, fast.loop->Step(batch, /*learning_rate=*/0.0));
  EXPECT_NEAR(result.metrics.at("loss"), loss.item<double>(), 1e-5 * loss.item<double>());
  const std::vector<at::Tensor> gradients = fast.optimizer->Gradients(), expected = naive.optimizer->Gradients();
  ASSERT_EQ(gradients.size(), expected.size());
  for (size_t i = 0; i < gradients.size(); ++i)
    EXPECT_LE(RelativeDifference(gradients[i], expected[i]), kTolerance) << "parameter " << i;
  // Projections learn, and there is one for each layer of the student.
  ASSERT_EQ(fast.own.size(), 2u);
  EXPECT_GT(expected.back().norm().item<double>(), 0);
}

// The sampled form's gradient is -A_t of the sampled token at the first update, by hand.
TEST(DistillationFormulaTest, TheSampledTokenIsAPolicyGradientOfTheDifferenceToTheTeacher) {
  ASSERT_OK_AND_ASSIGN(const auto loss, MakeLoss("sampled_reverse_kl"));
  at::Tensor policy_logprob = at::tensor({-1.0, -2.0, -0.5}, at::kFloat).requires_grad_(true);
  const std::map<std::string, at::Tensor> streams = {
      {stream::kSampleLogprob, at::tensor({-1.0f, -2.0f, stream::kNotSampled})},
      {stream::kTeacherLogprob, at::tensor({-3.0f, -1.5f, -1.0f})},
      {stream::kDistillWeight, at::tensor({0.5f, 0.5f, 0.0f})}};
  const at::Tensor sequence = at::zeros({3}, at::kLong);
  const LossOutput output = loss->Compute({.policy_logprob = policy_logprob,
                                           .streams = streams,
                                           .sequence_of_target = sequence,
                                           .group_of_target = sequence,
                                           .outputs = {}});
  output.loss.backward();
  const at::Tensor gradient = policy_logprob.grad();
  EXPECT_NEAR(gradient[0].item<double>(), 0.5 * 2, 1e-6);
  EXPECT_NEAR(gradient[1].item<double>(), 0.5 * -0.5, 1e-6);
  EXPECT_EQ(gradient[2].item<double>(), 0);
  EXPECT_TRUE(std::isfinite(output.loss.item<double>()));
}

}  // namespace
}  // namespace grpo
