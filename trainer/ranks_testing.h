// A train stage in a test of one or several ranks: what rank 0 does, without coordinator and workers.
#ifndef GRPO_TRAINER_RANKS_TESTING_H_
#define GRPO_TRAINER_RANKS_TESTING_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "trainer/algorithm/algorithm.h"
#include "trainer/dist/collectives.h"
#include "trainer/loop.h"
#include "trainer/run_config.h"

namespace grpo {

// Groups of random ids below 50 with random rewards of 0 and 1, as they come from the coordinator.
RolloutInput RandomRollouts(uint64_t seed, int64_t num_groups, int64_t group_size);

// Takes `steps` steps on the same input in the configuration's first stage, a train stage, and lets the other ranks go,
// which run FollowRankZero meanwhile. One result a step.
absl::StatusOr<std::vector<StepResult>> LeadFirstStage(Collectives& collectives, const RunConfig& config,
                                                       const StepInput& input, int steps, double learning_rate);

}  // namespace grpo

#endif  // GRPO_TRAINER_RANKS_TESTING_H_
