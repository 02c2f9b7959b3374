#include "trainer/stage/context.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/seeds.h"
#include "common/status_macros.h"
#include "reward/profile.h"

namespace grpo {

absl::StatusOr<int64_t> CountProblems(const DataSource& source, const std::string& name, int64_t problems) {
  if (source.size() >= 0) return problems == 0 ? source.size() : std::min(problems, source.size());
  if (problems > 0) return problems;
  return absl::InvalidArgumentError(absl::StrCat("data.", name, " is endless; say how many `problems` to take"));
}

absl::Status Publish(StageContext& context, StagePolicy& policy) {
  RETURN_IF_ERROR(policy.Publish());
  context.board.Update([&](v1::RunStatus& status) { *status.mutable_policy() = policy.ref(); });
  return absl::OkStatus();
}

v1::Lease MakeLease(const GroupTemplate& group, uint64_t run_seed, int64_t group_index, v1::Prompt prompt) {
  v1::Lease lease;
  lease.mutable_key()->set_stage(group.stage);
  lease.mutable_key()->set_group_index(group_index);
  lease.set_kind(group.kind);
  lease.set_seed(GroupSeed(run_seed, group.stage, group_index));
  *lease.mutable_policy() = group.policy;
  lease.set_endpoint(group.endpoint);
  *lease.mutable_sampling() = group.sampling;
  *lease.mutable_prompt() = std::move(prompt);
  *lease.mutable_reward() = group.reward;
  return lease;
}

absl::StatusOr<v1::RewardProfileRef> ProfileRef(const RunConfig& config, const std::string& rewards) {
  ASSIGN_OR_RETURN(const std::unique_ptr<RewardProfile> profile,
                   RewardProfile::Make(rewards, config.rewards.at(rewards)));
  return profile->ref();
}

std::map<std::string, std::vector<std::string>> RewardRuleNames(const RunConfig& config) {
  std::map<std::string, std::vector<std::string>> names;
  for (const auto& [profile, options] : config.rewards) {
    for (const auto& [rule, rule_options] : options.rules) names[profile].push_back(rule);
  }
  return names;
}

v1::SamplingParams ToProto(const SamplingOptions& sampling, int64_t num_completions) {
  v1::SamplingParams params;
  params.set_num_completions(static_cast<int32_t>(num_completions));
  params.set_max_new_tokens(static_cast<int32_t>(sampling.max_new_tokens));
  params.set_temperature(sampling.temperature);
  params.set_top_p(sampling.top_p);
  params.set_top_k(static_cast<int32_t>(sampling.top_k));
  params.set_min_p(sampling.min_p);
  for (const std::string& stop : sampling.stop) params.add_stop(stop);
  return params;
}

}  // namespace grpo
