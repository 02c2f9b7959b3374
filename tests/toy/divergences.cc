// What a binary that links this has beside trainer/divergences.inc.
#include "trainer/divergence/divergence_plugin.h"

namespace grpo {

#define DIVERGENCE(name) DivergencePlugin Divergence_##name();
#include "tests/toy/divergences.inc"
#undef DIVERGENCE

Registry<DivergencePlugin>::Entries ToyDivergences() {
  return {
#define DIVERGENCE(name) {#name, Divergence_##name()},
#include "tests/toy/divergences.inc"
#undef DIVERGENCE
  };
}

}  // namespace grpo
