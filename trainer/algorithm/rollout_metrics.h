// What a step's groups say, under TRL's metric names where it has one. Links no torch.
#ifndef GRPO_TRAINER_ALGORITHM_ROLLOUT_METRICS_H_
#define GRPO_TRAINER_ALGORITHM_ROLLOUT_METRICS_H_

#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "coordinator/coordinator.h"

namespace grpo {

// reward, reward_std (over all samples, ddof 1), frac_reward_zero_std (groups without a difference),
// rewards/<rule>/mean, samples_excluded, outcomes/<outcome> (only those that occurred besides "scored"),
// completions/{mean,min,max}_length (tokens, end-of-sequence not counted; of the completions that have ids, absent when
// none has), completions/clipped_ratio (cut off by the length limit), num_tokens, sample_seconds, score_seconds (the
// slowest group's).
std::map<std::string, double> RolloutMetrics(const std::vector<ScoredGroup>& groups);

// What the rule of that name said; null when the profile has none.
const v1::RuleScore* FindRule(const v1::Score& score, absl::string_view name);

// Tokens of a completion, the end-of-sequence token not counted; 0 when it has no ids.
int64_t CompletionLength(const v1::Completion& completion);

}  // namespace grpo

#endif  // GRPO_TRAINER_ALGORITHM_ROLLOUT_METRICS_H_
