// The k3 estimate of KL(policy || reference) per token (arXiv:2402.03300 eq. 4; Schulman 2020):
//   d_t  = ref_logprob_t - policy_logprob_t
//   loss = sum_t kl_weight_t * (exp(d_t) - d_t - 1)
// kl_weight holds the coefficient. Departure from TRL 1.13's default: the term is not multiplied by the probability
// ratio.
#include <ATen/TensorOperators.h>
#include <ATen/ops/expm1.h>

#include "trainer/batch/streams.h"
#include "trainer/loss/loss_plugin.h"
#include "trainer/records/metrics.h"

namespace grpo {
namespace {

class ReferenceKl : public Loss {
 public:
  std::vector<std::string> streams() const override {
    return {stream::kRefLogprob, stream::kKlWeight, stream::kRlWeight};
  }

  LossOutput Compute(const LossInput& input) const override {
    const at::Tensor difference = input.streams.at(stream::kRefLogprob) - input.policy_logprob;  // [M]
    // expm1 keeps the digits that exp(d) - 1 loses where the policies nearly agree.
    const at::Tensor kl = at::expm1(difference) - difference;  // [M]
    LossOutput output;
    output.loss = (kl * input.streams.at(stream::kKlWeight)).sum();
    output.sums[metric::kKl] = (kl.detach() * input.streams.at(stream::kRlWeight)).sum();
    return output;
  }
};

}  // namespace

LossPlugin Loss_reference_kl() {
  return MakeLossPlugin<NoOptions, ReferenceKl>("The k3 estimate of KL(policy || reference), token by token.");
}

}  // namespace grpo
