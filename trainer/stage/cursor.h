// Where a run goes on, inside a stage or between two. Links no torch.
#ifndef GRPO_TRAINER_STAGE_CURSOR_H_
#define GRPO_TRAINER_STAGE_CURSOR_H_

#include <cstdint>
#include <memory>

#include "trainer/checkpoint/progress.h"

namespace grpo {

// What a learner keeps beside its policy's weights: tensors, which stages carry and do not look at. Immutable.
class LearnerState {
 public:
  virtual ~LearnerState() = default;
};

// Copies share the learner's state.
struct StageCursor {
  // Of the stage that goes on, in RunConfig.stages; their number when all have run.
  int64_t stage_index = 0;
  // Zero for a stage that begins.
  StageProgress progress = {};
  // Null before a stage's first step, and for stages that learn nothing.
  std::shared_ptr<const LearnerState> learner = {};
};

}  // namespace grpo

#endif  // GRPO_TRAINER_STAGE_CURSOR_H_
