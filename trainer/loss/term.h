// One term of a step's loss, by name: what an algorithm asks for. Links no torch.
#ifndef GRPO_TRAINER_LOSS_TERM_H_
#define GRPO_TRAINER_LOSS_TERM_H_

#include <string>

#include "configs/visit.h"
#include "trainer/schedule.h"

namespace grpo {

struct LossTerm {
  // In trainer/losses.inc.
  std::string name;
  // The loss's own keys; those that are absent keep its defaults. The trainer checks them when it makes the loss.
  Section options = {};
  // What the term counts in the step's loss. What it reports beside is not scaled.
  Schedule coefficient = {};
};

}  // namespace grpo

#endif  // GRPO_TRAINER_LOSS_TERM_H_
