// Next-token cross-entropy: loss = - sum_t ce_weight_t * policy_logprob_t, natural logarithm.
#include <ATen/TensorOperators.h>

#include "trainer/batch/streams.h"
#include "trainer/loss/loss.h"

namespace grpo {
namespace {

class CrossEntropy : public Loss {
 public:
  std::vector<std::string> streams() const override { return {stream::kCeWeight}; }

  LossOutput Compute(const at::Tensor& policy_logprob,
                     const std::map<std::string, at::Tensor>& streams) const override {
    return {.loss = -(policy_logprob * streams.at(stream::kCeWeight)).sum(), .sums = {}};
  }
};

}  // namespace

std::unique_ptr<Loss> MakeCrossEntropy(const LossOptions&) {
  return std::make_unique<CrossEntropy>();
}

}  // namespace grpo
