// What a step's groups say, under TRL's metric names where it has one. Links no torch.
#ifndef GRPO_TRAINER_ALGORITHM_ROLLOUT_METRICS_H_
#define GRPO_TRAINER_ALGORITHM_ROLLOUT_METRICS_H_

#include <map>
#include <string>
#include <vector>

#include "coordinator/scored_group.h"

namespace grpo {

// reward, reward_std (over all samples, ddof 1), rewards/<rule>/mean, frac_reward_zero_std (of the groups that have a
// reward, those whose rewards are equal), samples_excluded, outcomes/<outcome> (only those that occurred besides
// "scored"), completions/{mean,min,max}_length (tokens, end-of-sequence not counted, of the completions that have ids),
// completions/clipped_ratio (cut off
// by the length limit), num_tokens, sample_seconds, score_seconds (the slowest group's). What excluded samples say
// counts in no reward; a mean over nothing is left out. Their units are in trainer/records/metrics.inc. Pure.
std::map<std::string, double> RolloutMetrics(const std::vector<ScoredGroup>& groups);

}  // namespace grpo

#endif  // GRPO_TRAINER_ALGORITHM_ROLLOUT_METRICS_H_
