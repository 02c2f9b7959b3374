#include "trainer/ranks_testing.h"

#include <unistd.h>

#include <filesystem>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/seeds.h"
#include "common/status_macros.h"
#include "configs/load.h"
#include "gtest/gtest.h"
#include "trainer/learner.h"
#include "trainer/policies.h"
#include "trainer/ranks.h"

namespace grpo {

RolloutInput RandomRollouts(uint64_t seed, int64_t num_groups, int64_t group_size) {
  Rng rng(seed);
  RolloutInput input;
  for (int64_t g = 0; g < num_groups; ++g) {
    ScoredGroup& group = input.groups.emplace_back();
    for (int64_t t = 1 + static_cast<int64_t>(rng.Below(3)); t > 0; --t)
      group.prompt_ids.push_back(static_cast<uint32_t>(rng.Below(50)));
    for (int64_t i = 0; i < group_size; ++i) {
      v1::ScoredCompletion& scored = group.completions.emplace_back();
      v1::Completion& completion = *scored.mutable_completion();
      for (int64_t t = 1 + static_cast<int64_t>(rng.Below(6)); t > 0; --t) {
        completion.add_ids(static_cast<uint32_t>(rng.Below(50)));
        completion.add_sample_logprob(static_cast<float>(-4 - rng.Uniform()));
      }
      v1::Span& span = *completion.add_spans();
      span.set_num_tokens(completion.ids_size());
      span.set_trainable(true);
      scored.mutable_score()->set_outcome(v1::OUTCOME_SCORED);
      scored.mutable_score()->set_value(static_cast<double>(rng.Below(2)));
    }
  }
  return input;
}

absl::StatusOr<RunConfig> SmallGrpoRun() {
  const std::string shape = absl::StrCat(
      "{random_init: {tokenizer: ", std::filesystem::absolute("configs/tokenizers/chickens_rabbits.json").string(),
      ", hidden_size: 8, intermediate_size: 12, num_layers: 1, num_heads: 2, ", "num_kv_heads: 1}}");
  const std::string path = absl::StrCat(::testing::TempDir(), "/small_grpo_run.", ::getpid(), ".yaml");
  RETURN_IF_ERROR(WriteFileSynced(
      path, absl::StrCat("run: {name: ranks, seed: 3}\npolicies:\n  student: ", shape, "\n  reference: ", shape,
                         "\ndata:\n  problems: {source: chickens_rabbits}\nrewards:\n  rules: {rules: {math_answer: }}"
                         "\nstages:\n  - {name: learn, type: train, algorithm: grpo, policy: student, data: problems, "
                         "rewards: rules, steps: 9, kl_coefficient: 0.1, reference_policy: reference, "
                         "minibatches_per_iteration: 2, iterations_per_step: 2}\n")));
  ASSIGN_OR_RETURN(LoadedConfig loaded, LoadRunConfig(path));
  return std::move(loaded.config);
}

absl::StatusOr<std::vector<StepResult>> LeadFirstStage(Collectives& collectives, const RunConfig& config,
                                                       const StepInput& input, int steps, double learning_rate,
                                                       c10::Device device) {
  const LearnerSpec spec = config.stages[0].stage->learner().value();
  PolicyStore policies(config.policies, config.run.seed, device);
  ASSIGN_OR_RETURN(const auto learner, Learner::Create(config.trainer, spec, &policies, &collectives));
  RETURN_IF_ERROR(BeginTraining(collectives, /*stage_index=*/0, *learner));
  std::vector<StepResult> results;
  for (int step = 0; step < steps; ++step) {
    ASSIGN_OR_RETURN(StepBatch batch, spec.algorithm.Prepare(input));
    ASSIGN_OR_RETURN(const StepBatch part, SendTrainStep(collectives, std::move(batch), step, learning_rate));
    ASSIGN_OR_RETURN(results.emplace_back(), learner->Step(part, learning_rate, step));
  }
  RETURN_IF_ERROR(SendEndOfRun(collectives));
  return results;
}

}  // namespace grpo
