// What a binary that links this has beside trainer/algorithms.inc.
#include "trainer/algorithm/algorithm.h"

namespace grpo {

#define ALGORITHM(name) AlgorithmPlugin Algorithm_##name();
#include "tests/toy/algorithms.inc"
#undef ALGORITHM

Registry<AlgorithmPlugin>::Entries ToyAlgorithms() {
  return {
#define ALGORITHM(name) {#name, Algorithm_##name()},
#include "tests/toy/algorithms.inc"
#undef ALGORITHM
  };
}

}  // namespace grpo
