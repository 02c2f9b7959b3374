// What a file in algorithm/ defines. algorithm/x.cc with the line ALGORITHM(x) in algorithms.inc holds
//
//   AlgorithmPlugin Algorithm_x() { return MakeAlgorithmPlugin<XOptions, X>("One sentence."); }
//
// where XOptions declares the keys that stand beside those of the `train` stage (configs/visit.h), and X is an
// Algorithm that is constructed from them. What the keys name elsewhere, and what is wrong about them together, X
// declares: references(), OwnConflicts().
#ifndef GRPO_TRAINER_ALGORITHM_ALGORITHM_PLUGIN_H_
#define GRPO_TRAINER_ALGORITHM_ALGORITHM_PLUGIN_H_

#include <string>
#include <utility>

#include "trainer/algorithm/algorithm.h"

namespace grpo {

template <class Options, class AlgorithmType>
AlgorithmPlugin MakeAlgorithmPlugin(std::string summary) {
  return MakePlugin<Algorithm, Options, AlgorithmType>(std::move(summary), "stages[].");
}

}  // namespace grpo

#endif  // GRPO_TRAINER_ALGORITHM_ALGORITHM_PLUGIN_H_
