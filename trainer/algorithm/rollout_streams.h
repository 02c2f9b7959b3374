// The sequences of a sampled group, with what every method that learns from samples needs. Links no torch.
#ifndef GRPO_TRAINER_ALGORITHM_ROLLOUT_STREAMS_H_
#define GRPO_TRAINER_ALGORITHM_ROLLOUT_STREAMS_H_

#include <cstdint>
#include <vector>

#include "coordinator/scored_group.h"
#include "trainer/batch/streams.h"

namespace grpo {

// One sequence a completion, in order: prompt and completion ids, sample_logprob (0 in the prompt), and as targets the
// tokens of the completion's trainable spans; an excluded completion has none. `number` is the group's in the step's
// batch. The group's completions carry ids, log-probabilities and spans (a lease of kind train asks for them). Pure.
std::vector<TokenStreams> RolloutStreams(const ScoredGroup& group, int64_t number);

}  // namespace grpo

#endif  // GRPO_TRAINER_ALGORITHM_ROLLOUT_STREAMS_H_
