// What a binary that links this has beside trainer/losses.inc.
#include "trainer/loss/loss_plugin.h"

namespace grpo {

#define LOSS(name) LossPlugin Loss_##name();
#include "tests/toy/losses.inc"
#undef LOSS

Registry<LossPlugin>::Entries ToyLosses() {
  return {
#define LOSS(name) {#name, Loss_##name()},
#include "tests/toy/losses.inc"
#undef LOSS
  };
}

}  // namespace grpo
