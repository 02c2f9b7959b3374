// KL(student || teacher) by the tokens that the student sampled, as a policy gradient (on-policy distillation; the
// per-token reward of arXiv:2306.08543 section 2, without its returns: each token answers for itself):
//   A_t  = teacher_logprob_t - sample_logprob_t
//   loss = - sum_t distill_weight_t * exp(policy_logprob_t - sample_logprob_t) * A_t
// The ratio corrects for weights that moved since the token was sampled; on the first update it is 1. One token's A_t
// is a sample of -KL's term; its mean over samples has KL's gradient.
#include <ATen/TensorOperators.h>
#include <ATen/ops/exp.h>

#include "trainer/batch/streams.h"
#include "trainer/loss/loss_plugin.h"
#include "trainer/records/metrics.h"

namespace grpo {
namespace {

class SampledReverseKl : public Loss {
 public:
  std::vector<std::string> streams() const override {
    return {stream::kSampleLogprob, stream::kTeacherLogprob, stream::kDistillWeight};
  }

  LossOutput Compute(const LossInput& input) const override {
    const at::Tensor& weight = input.streams.at(stream::kDistillWeight);               // [M]
    const at::Tensor& sampled = input.streams.at(stream::kSampleLogprob);              // [M]
    const at::Tensor advantage = input.streams.at(stream::kTeacherLogprob) - sampled;  // [M]
    const at::Tensor ratio = at::exp(input.policy_logprob - sampled);                  // [M]
    LossOutput output;
    output.loss = -(ratio * advantage * weight).sum();
    output.sums[metric::Divergence("sampled_reverse_kl")] = -(ratio.detach() * advantage * weight).sum();
    return output;
  }
};

}  // namespace

LossPlugin Loss_sampled_reverse_kl() {
  return MakeLossPlugin<NoOptions, SampledReverseKl>(
      "KL(student || teacher) by the sampled tokens, as a policy gradient, token by token.");
}

}  // namespace grpo
