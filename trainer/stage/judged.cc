#include "trainer/stage/judged.h"

#include "absl/strings/str_cat.h"
#include "common/count_text.h"
#include "common/status_macros.h"
#include "trainer/records/metrics.h"

namespace grpo {

std::vector<Reference> JudgedSampling::References() const {
  return {{.key = "policy", .section = "policies", .value = policy, .required = true, .takes_endpoint = true},
          {.key = "data", .section = "data", .value = data, .required = true},
          {.key = "rewards", .section = "rewards", .value = rewards, .required = true}};
}

DataUse JudgedSampling::Reads(const std::string& reader) const {
  return {.kind = DataUse::Kind::kProblems,
          .reader = reader,
          .data = data,
          .policy = policy,
          .rewards = rewards,
          .max_new_tokens = sampling.max_new_tokens,
          .num_items = problems};
}

StageCost JudgedSampling::Cost(const std::string& also) const {
  if (problems == 0) return {.batch = absl::StrCat("every problem x ", samples_per_problem, also)};
  const int64_t completions = problems * samples_per_problem;
  return {.batch = absl::StrCat(FormatCount(problems), " problems x ", FormatCount(samples_per_problem), also),
          .completions = completions,
          .tokens = completions * sampling.max_new_tokens};
}

void AddUsageMetrics(const v1::EndpointUsage& usage, std::map<std::string, double>* metrics) {
  if (usage.num_requests() == 0) return;
  (*metrics)[metric::kEndpointAnswers] = static_cast<double>(usage.num_requests());
  (*metrics)[metric::kEndpointInputTokens] = static_cast<double>(usage.input_tokens());
  (*metrics)[metric::kEndpointOutputTokens] = static_cast<double>(usage.output_tokens());
  (*metrics)[metric::kEndpointUsd] = usage.usd();
}

void ShowGroups(const GroupProgress& progress, const std::map<std::string, double>& metrics, StatusBoard* board) {
  const double seconds = absl::ToDoubleSeconds(progress.elapsed);
  board->UpdateStage([&](v1::StageStatus& stage) {
    stage.set_num_steps(progress.num_steps);
    stage.set_step(progress.step);
    stage.set_seconds(seconds);
    for (const auto& [name, value] : metrics) (*stage.mutable_metrics())[name] = value;
  });
  if (const int64_t done = progress.step - progress.first; done > 0)
    board->SetRemaining(seconds, done, progress.num_steps - progress.step);
}

void Spend(const ScoredGroup& group, SpendingLog* spending) {
  spending->AddTokens(NumSampledTokens(group) + group.usage.output_tokens());
  spending->AddUsd(group.usage.usd());
}

absl::StatusOr<JudgedRun> PrepareJudged(const StageContext& context, const JudgedSampling& keys) {
  JudgedRun run;
  ASSIGN_OR_RETURN(run.policy, context.models.Get(keys.policy));
  ASSIGN_OR_RETURN(run.data, context.files.OpenData(keys.data));
  ASSIGN_OR_RETURN(run.num_problems, CountProblems(*run.data, keys.data, keys.problems));
  ASSIGN_OR_RETURN(run.reward, ProfileRef(context.config, keys.rewards));
  return run;
}

}  // namespace grpo
