#include "trainer/stage/context.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/seeds.h"
#include "common/status_macros.h"
#include "model/tokenizer/prompt.h"
#include "reward/profile.h"

namespace grpo {
namespace {

// An endless source is checked by this many problems.
constexpr int64_t kEndlessSourceSample = 1000;

absl::Status CheckPrompt(const v1::Prompt& prompt, const StagePolicy& policy, int64_t max_new_tokens,
                         int64_t context_tokens) {
  const std::string policy_id = policy.ref().policy_id();
  absl::StatusOr<std::vector<uint32_t>> ids = EncodePrompt(policy.tokenizer(), prompt.text());
  if (!ids.ok())
    return Annotate(ids.status(), absl::StrCat("problem ", prompt.id(), " cannot be tokenized for policy ", policy_id));
  const int64_t num_tokens = static_cast<int64_t>(ids->size());
  if (num_tokens > 0 && num_tokens + max_new_tokens <= context_tokens) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "the prompt of problem ", prompt.id(), " has ", num_tokens, " tokens; with max_new_tokens ", max_new_tokens,
      " it must be between 1 and ", context_tokens, " together, the context of policy ", policy_id,
      ": shorten the prompt, lower sampling.max_new_tokens or raise rollout_worker.context_tokens"));
}

}  // namespace

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
  *lease.mutable_sampling() = group.sampling;
  *lease.mutable_prompt() = std::move(prompt);
  *lease.mutable_reward() = group.reward;
  return lease;
}

absl::StatusOr<v1::RewardProfileRef> CheckProblems(const RunConfig& config, const DataSource& source,
                                                   const std::string& rewards, const StagePolicy& policy,
                                                   const SamplingOptions& sampling) {
  ASSIGN_OR_RETURN(const std::unique_ptr<RewardProfile> profile,
                   RewardProfile::Make(rewards, config.rewards.at(rewards)));
  const int64_t context_tokens = config.rollout_worker.ContextTokens(policy.config().max_positions);
  const int64_t num_problems = source.num_checked(kEndlessSourceSample);
  int64_t num_unreadable = 0;
  absl::Status first_unreadable;
  for (int64_t i = 0; i < num_problems; ++i) {
    const DataItem item = source.CheckedAt(i, kEndlessSourceSample);
    RETURN_IF_ERROR(CheckPrompt(item.prompt, policy, sampling.max_new_tokens, context_tokens));
    const absl::Status readable = profile->CheckReference(item.prompt);
    if (readable.ok()) continue;
    if (num_unreadable++ == 0) first_unreadable = Annotate(readable, absl::StrCat("problem ", item.prompt.id()));
  }
  if (num_unreadable == 0) return profile->ref();
  if (num_unreadable == num_problems) {
    return Annotate(first_unreadable, absl::StrCat("the rules of rewards.", rewards, " can read none of the ",
                                                   num_problems, " reference answers; the first"));
  }
  spdlog::error(
      "{} OF {} REFERENCE ANSWERS CANNOT BE READ by the rules of rewards.{}; completions for them are left out of the "
      "loss. The first: {}",
      num_unreadable, num_problems, rewards, std::string(first_unreadable.message()));
  return profile->ref();
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
