// A train stage in a test of one or several ranks: what rank 0 does, without coordinator and workers.
#ifndef GRPO_TRAINER_RANKS_TESTING_H_
#define GRPO_TRAINER_RANKS_TESTING_H_

#include <c10/core/Device.h>

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

// A run of one stage, GRPO with a reference that is not the policy's start, so that it has a KL from the first step.
// The test has //configs/tokenizers among its data.
absl::StatusOr<RunConfig> SmallGrpoRun();

// Takes `steps` steps on the same input in the configuration's first stage, a train stage, and lets the other ranks go,
// which run FollowRankZero meanwhile. One result a step. The models lie on `device`.
absl::StatusOr<std::vector<StepResult>> LeadFirstStage(Collectives& collectives, const RunConfig& config,
                                                       const StepInput& input, int steps, double learning_rate,
                                                       c10::Device device = c10::kCPU);

}  // namespace grpo

#endif  // GRPO_TRAINER_RANKS_TESTING_H_
