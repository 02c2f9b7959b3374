// What a step's groups say, under TRL's metric names where it has one. Links no torch.
#ifndef GRPO_TRAINER_ALGORITHM_ROLLOUT_METRICS_H_
#define GRPO_TRAINER_ALGORITHM_ROLLOUT_METRICS_H_

#include <map>
#include <string>
#include <vector>

#include "coordinator/scored_group.h"

namespace grpo {

// Over the samples of all groups; names and units are in trainer/records/metrics.inc. What excluded samples say counts
// in no reward; a mean over nothing is left out. Pure.
//   reward, reward_std               of the samples that are not excluded; ddof 1, over all of them together
//   rewards/<rule>/mean              of the same samples
//   frac_reward_zero_std             of the groups that have a reward, those whose rewards are equal
//   samples_excluded                 a number, like
//   outcomes/<outcome>               for each that occurred besides "scored"
//   completions/mean_length, completions/min_length, completions/max_length
//                                    tokens, end-of-sequence not counted, of the completions that have ids
//   completions/clipped_ratio        those that the length limit cut off
//   num_tokens                       sampled, end-of-sequence counted
//   sample_seconds, score_seconds    the slowest group's
std::map<std::string, double> RolloutMetrics(const std::vector<ScoredGroup>& groups);

}  // namespace grpo

#endif  // GRPO_TRAINER_ALGORITHM_ROLLOUT_METRICS_H_
