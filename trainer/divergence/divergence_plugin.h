// What a file in divergence/ defines. divergence/x.cc with the line DIVERGENCE(x) in divergences.inc holds
//
//   DivergencePlugin Divergence_x() { return MakeDivergencePlugin<XOptions, X>("One sentence.", {.curvature = 1}); }
//
// where XOptions declares the divergence's keys (configs/visit.h; NoOptions where it has none), and X is a Divergence
// that is constructed from them: by itself, or a PointwiseDivergence (pointwise.h).
#ifndef GRPO_TRAINER_DIVERGENCE_DIVERGENCE_PLUGIN_H_
#define GRPO_TRAINER_DIVERGENCE_DIVERGENCE_PLUGIN_H_

#include <string>
#include <utility>

#include "configs/registry.h"
#include "trainer/divergence/divergence.h"

namespace grpo {

// What is said of a divergence without making one.
struct DivergenceTraits {
  // DivergenceInfo.curvature: f''(1) where D = sum_v q_v f(p_v / q_v).
  double curvature = 1;
};

struct DivergencePlugin : Plugin<Divergence> {
  DivergenceTraits traits;
};

template <class Options, class DivergenceType>
DivergencePlugin MakeDivergencePlugin(std::string summary, DivergenceTraits traits = {}) {
  return {MakePlugin<Divergence, Options, DivergenceType>(std::move(summary)), traits};
}

}  // namespace grpo

#endif  // GRPO_TRAINER_DIVERGENCE_DIVERGENCE_PLUGIN_H_
