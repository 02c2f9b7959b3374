#include "tests/reference/trainee.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <utility>
#include <variant>

#include "common/seeds.h"
#include "common/status_testing.h"
#include "configs/load.h"
#include "trainer/batch/share.h"
#include "trainer/loss/loss.h"

namespace grpo {
namespace {

constexpr int64_t kVocabulary = 11;

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

std::unique_ptr<Transformer> Model(const ModelConfig& config, uint64_t seed, c10::Device device) {
  auto model = Transformer::Create(config, {.device = device});
  EXPECT_OK(model);
  (*model)->InitializeRandom(seed);
  // The initial weights say nearly the same of every token; these do not.
  for (const auto& [name, parameter] : (*model)->NamedParameters()) {
    const at::NoGradGuard no_grad;
    if (name == "model.embed_tokens.weight") parameter.mul_(30);
  }
  return *std::move(model);
}

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

}  // namespace

void PrintTo(const TraineeCase& of, std::ostream* out) {
  *out << of.name;
}

const std::vector<TraineeCase>& DistillationCases() {
  static const auto* const cases = new std::vector<TraineeCase>{
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

Trainee::Trainee(const std::string& name, const std::string& keys, Switches switches, Collectives* collectives)
    : student(Model(Shape(8, 2), 3, switches.device)),
      teacher(Model(Shape(12, 4), 4, switches.device)),
      other(Model(Shape(8, 2), 5, switches.device)) {
  student->RequireGrad();
  algorithm = *MakeAlgorithm(name, *ParseConfigText(keys, "keys"));
  std::vector<std::unique_ptr<Loss>> losses = *MakeLosses(algorithm->losses());
  const std::map<std::string, const Transformer*> models = {{"teacher", teacher.get()}, {"other", other.get()}};
  std::vector<FrozenScorer> frozen;
  LossModels shapes = {.policy = student->config(), .frozen = {}, .seed = 9, .device = switches.device};
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

Trainee::Outcome Trainee::Learn(const StepInput& input, Collectives& collectives) {
  Outcome outcome;
  for (int step = 0; step < 3; ++step) {
    std::vector<StepBatch> parts = ShareOut(*algorithm->Prepare(input), collectives.world_size());
    auto result = loop->Step(parts[collectives.rank()], 1e-2, step / 3.0);
    EXPECT_OK(result.status());
    if (result.ok()) outcome.metrics = result->metrics;
  }
  for (const auto& [name, parameter] : student->NamedParameters()) outcome.weights.push_back(parameter.detach().cpu());
  for (const auto& [name, parameter] : own) outcome.weights.push_back(parameter.detach().cpu());
  return outcome;
}

StepInput InputFor(const Algorithm& algorithm, uint64_t seed) {
  Rng rng(seed);
  const StepPlan plan = algorithm.plan();
  if (const auto* const traces_plan = std::get_if<TracesPlan>(&plan)) {
    TracesInput input;
    for (int i = 0; i < 7; ++i) input.traces.push_back(RandomTrace(rng, traces_plan->stored_top_k));
    return input;
  }
  if (std::holds_alternative<CorpusPlan>(plan)) {
    CorpusInput input;
    for (int i = 0; i < 5; ++i) input.rows.push_back(RandomIds(rng, 9));
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
  const at::Tensor here = a.cpu(), there = b.cpu();
  return (here - there).norm().item<double>() / std::max(1e-6, there.norm().item<double>());
}

}  // namespace grpo
