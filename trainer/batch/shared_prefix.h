// What the sequences of a group have in common: the prompt, which the training pass computes once for all of them.
#ifndef GRPO_TRAINER_BATCH_SHARED_PREFIX_H_
#define GRPO_TRAINER_BATCH_SHARED_PREFIX_H_

#include <cstdint>
#include <vector>

#include "trainer/batch/streams.h"

namespace grpo {

// Sequences first .. end - 1 of a list.
struct SharedRun {
  size_t first = 0, end = 0;
  // Ids that all of them begin with and that are a target of none; 0 when the run is one sequence.
  int64_t num_shared = 0;
};

// Cuts the list into runs, in order: consecutive sequences of one group that begin alike, as many as there are, or one
// sequence alone. A sequence without a target counts like the others.
std::vector<SharedRun> SharedRuns(const std::vector<TokenStreams>& sequences);

}  // namespace grpo

#endif  // GRPO_TRAINER_BATCH_SHARED_PREFIX_H_
