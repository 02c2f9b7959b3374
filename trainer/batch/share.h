// A step's batch cut into one part a rank.
#ifndef GRPO_TRAINER_BATCH_SHARE_H_
#define GRPO_TRAINER_BATCH_SHARE_H_

#include <vector>

#include "trainer/batch/streams.h"

namespace grpo {

// Each minibatch's sequences over `num_ranks` parts of nearly equal tokens, those that share a prompt together where that
// is possible (trainer/batch/shared_prefix.h): the longest first, each to the part that has least (ties to the lower
// rank), and groups are taken apart while parts differ by more than the longest sequence. Within a part the batch's
// order stays. A part may have no sequences, never fewer
// minibatches. A pure function of the batch. Metrics stay with part 0. num_ranks is at least 1; part r is rank r's. The
// weights were made before, so they need no change.
std::vector<StepBatch> ShareOut(StepBatch batch, int num_ranks);

}  // namespace grpo

#endif  // GRPO_TRAINER_BATCH_SHARE_H_
