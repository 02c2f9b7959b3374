// How the other ranks take part in what rank 0 does. Rank 0 runs the stages and owns everything outside (coordinator,
// checkpoints, status); the others hold no state of their own: configuration, weights, optimizer and their part of each
// batch come from rank 0, so that any machine can take any rank's place after a restart.
//
//   rank 0                              rank r
//   BeginTraining ---------------->     policies, optimizer as broadcast; a Learner like rank 0's
//   SendTrainStep --part of batch->     Learner::Step, together with rank 0's
//   ...
//   SendEndOfRun  ---------------->     return
#ifndef GRPO_TRAINER_RANKS_H_
#define GRPO_TRAINER_RANKS_H_

#include <c10/core/Device.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "trainer/batch/streams.h"
#include "trainer/dist/collectives.h"
#include "trainer/learner.h"
#include "trainer/run_config.h"

namespace grpo {

// --- Rank 0; with a single rank nothing is sent ---

// Gives the others the state of a learner of stage `stage_index`. Sends the learner's policies whole, and the moments;
// the others have the same configuration and find the stage by its index. Unavailable when a rank is gone.
absl::Status BeginTraining(Collectives& collectives, int64_t stage_index, Learner& learner);
// Shares the batch out and returns rank 0's part. `step` is the stage's, from 0. Unavailable when a rank is gone.
absl::StatusOr<StepBatch> SendTrainStep(Collectives& collectives, StepBatch batch, int64_t step, double learning_rate);
// Lets the others go. Unavailable when a rank is gone; the run has ended all the same.
absl::Status SendEndOfRun(Collectives& collectives);

// --- The others ---

// Does what rank 0 says until the run ends. Unavailable when rank 0 or another rank is gone: all ranks start again.
// Internal for a command that does not fit, or weights that have diverged. A first stop signal is only noted: rank 0
// saves, then lets all go. Blocks. The models lie on `device`.
absl::Status FollowRankZero(Collectives& collectives, const RunConfig& config, c10::Device device = c10::kCPU);

}  // namespace grpo

#endif  // GRPO_TRAINER_RANKS_H_
