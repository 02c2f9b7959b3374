// What a binary that links this has beside rollout/generators.inc.
#include "rollout/generator_plugin.h"

namespace grpo {

#define GENERATOR(name) GeneratorPlugin Generator_##name();
#include "tests/toy/generators.inc"
#undef GENERATOR

Registry<GeneratorPlugin>::Entries ToyGenerators() {
  return {
#define GENERATOR(name) {#name, Generator_##name()},
#include "tests/toy/generators.inc"
#undef GENERATOR
  };
}

}  // namespace grpo
