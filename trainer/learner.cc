#include "trainer/learner.h"

#include <algorithm>
#include <utility>

#include "common/status_macros.h"

namespace grpo {
namespace {

// How long an update waits for a transfer of the weights that it changes. A worker on a slow network gets its version
// whole; one that is dead, or means harm, costs each version this much and no more.
constexpr absl::Duration kReaderPatience = absl::Seconds(10);

double DoneFrac(int64_t step, int64_t num_steps) {
  return static_cast<double>(step) / static_cast<double>(std::max<int64_t>(num_steps, 1));
}

}  // namespace

std::vector<std::string> FrozenPolicies(const Algorithm& algorithm) {
  std::vector<std::string> names;
  for (const FrozenPolicy& frozen : algorithm.frozen()) {
    if (std::count(names.begin(), names.end(), frozen.policy) == 0) names.push_back(frozen.policy);
  }
  return names;
}

absl::StatusOr<std::unique_ptr<Learner>> Learner::Create(const TrainerOptions& options, const LearnerSpec& spec,
                                                         PolicyStore* policies, Collectives* collectives) {
  const Algorithm& algorithm = spec.algorithm;
  ASSIGN_OR_RETURN(Policy* const policy, policies->Get(spec.policy));
  policy->model->RequireGrad();
  std::vector<const Policy*> frozen;
  for (const std::string& name : FrozenPolicies(algorithm)) {
    ASSIGN_OR_RETURN(frozen.emplace_back(), policies->Get(name));
  }
  std::vector<FrozenScorer> scorers;
  LossModels models = {.policy = policy->model->config(),
                       .frozen = {},
                       .seed = policies->run_seed(),
                       .device = policy->model->placement().device};
  for (const auto& [name, stream] : algorithm.frozen()) {
    ASSIGN_OR_RETURN(const Policy* const scorer, policies->Get(name));
    scorers.push_back({.model = scorer->model.get(), .stream = stream, .policy = name});
    models.frozen[name] = &scorer->model->config();
  }
  ASSIGN_OR_RETURN(std::vector<std::unique_ptr<Loss>> losses, MakeLosses(algorithm.losses()));
  NamedTensors stage_parameters;
  for (const auto& loss : losses) {
    RETURN_IF_ERROR(loss->Begin(models));
    for (auto& named : loss->parameters()) stage_parameters.push_back(std::move(named));
  }
  std::unique_ptr<Learner> learner(new Learner(policy, std::move(frozen), std::move(stage_parameters), spec));
  learner->loop_ = std::make_unique<Loop>(policy->model.get(), std::move(scorers), std::move(losses),
                                          &learner->optimizer_, collectives,
                                          Loop::Options{.micro_batch_tokens = options.micro_batch_tokens,
                                                        .temperature = algorithm.temperature(),
                                                        .max_grad_norm = spec.optimizer.max_grad_norm,
                                                        .activation_checkpointing = options.activation_checkpointing,
                                                        .head_chunk_bytes = options.head_chunk_bytes});
  return learner;
}

Learner::Learner(Policy* policy, std::vector<const Policy*> frozen, NamedTensors stage_parameters,
                 const LearnerSpec& spec)
    : policy_(policy),
      frozen_(std::move(frozen)),
      num_steps_(spec.num_steps),
      optimizer_(policy->model->NamedParameters(), spec.optimizer, std::move(stage_parameters)) {
  optimizer_.SetBeforeUpdate([this] { weights_wait_ += policy_->BeginUpdate(kReaderPatience); });
}

absl::StatusOr<StepResult> Learner::Step(const StepBatch& part, double learning_rate, int64_t step) {
  const int64_t updates_before = optimizer_.num_steps();
  weights_wait_ = absl::ZeroDuration();
  ASSIGN_OR_RETURN(StepResult result, loop_->Step(part, learning_rate, DoneFrac(step, num_steps_)));
  policy_->number += optimizer_.num_steps() - updates_before;
  result.metrics["weights_wait_seconds"] = absl::ToDoubleSeconds(weights_wait_);
  return result;
}

}  // namespace grpo
