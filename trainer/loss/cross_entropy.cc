// Next-token cross-entropy: loss = - sum_t ce_weight_t * policy_logprob_t, natural logarithm.
#include <ATen/TensorOperators.h>

#include "trainer/batch/streams.h"
#include "trainer/loss/loss_plugin.h"

namespace grpo {
namespace {

class CrossEntropy : public Loss {
 public:
  std::vector<std::string> streams() const override { return {stream::kCeWeight}; }

  LossOutput Compute(const LossInput& input) const override {
    return {.loss = -(input.policy_logprob * input.streams.at(stream::kCeWeight)).sum(), .sums = {}};
  }
};

}  // namespace

LossPlugin Loss_cross_entropy() {
  return MakeLossPlugin<NoOptions, CrossEntropy>("Next-token cross-entropy.");
}

}  // namespace grpo
