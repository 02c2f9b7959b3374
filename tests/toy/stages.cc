// What a binary that links this has beside trainer/stages.inc.
#include "trainer/stage/stage.h"

namespace grpo {

#define STAGE(name) StagePlugin Stage_##name();
#include "tests/toy/stages.inc"
#undef STAGE

Registry<StagePlugin>::Entries ToyStages() {
  return {
#define STAGE(name) {#name, Stage_##name()},
#include "tests/toy/stages.inc"
#undef STAGE
  };
}

}  // namespace grpo
