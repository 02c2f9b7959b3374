// What a file in loss/ defines. loss/x.cc with the line LOSS(x) in losses.inc holds
//
//   LossPlugin Loss_x() { return MakeLossPlugin<XOptions, X>("One sentence.", {.policy_gradient = true}); }
//
// where XOptions declares the loss's keys (configs/visit.h; NoOptions where it has none), and X is a Loss that is
// constructed from them. An algorithm fills them (LossTerm.options).
#ifndef GRPO_TRAINER_LOSS_LOSS_PLUGIN_H_
#define GRPO_TRAINER_LOSS_LOSS_PLUGIN_H_

#include <string>
#include <utility>

#include "configs/registry.h"
#include "trainer/loss/loss.h"

namespace grpo {

// What is said of a loss without making one.
struct LossTraits {
  // LossInfo.policy_gradient.
  bool policy_gradient = false;
};

struct LossPlugin : Plugin<Loss> {
  LossTraits traits;
};

template <class Options, class LossType>
LossPlugin MakeLossPlugin(std::string summary, LossTraits traits = {}) {
  return {MakePlugin<Loss, Options, LossType>(std::move(summary)), traits};
}

}  // namespace grpo

#endif  // GRPO_TRAINER_LOSS_LOSS_PLUGIN_H_
