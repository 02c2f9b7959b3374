// The clipped surrogate of PPO and GRPO (arXiv:2402.03300 eq. 3 without its KL term), token by token:
//   ratio_t = exp(policy_logprob_t - sample_logprob_t)
//   loss    = - sum_t rl_weight_t * min(ratio_t A_t, clip(ratio_t, 1 - clip_low, 1 + clip_high) A_t)
// Departure: the old policy's log-probability is the one recorded when the token was sampled. Trainer and sampler run
// one forward (docs/design.md law 3), so on the first update of a fresh batch the ratio is 1 to rounding, and no second
// forward is needed for it.
#include <ATen/TensorOperators.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/minimum.h>

#include "trainer/batch/streams.h"
#include "trainer/loss/loss_plugin.h"
#include "trainer/records/metrics.h"

namespace grpo {
namespace {

struct Options {
  double clip_low = 0.2, clip_high = 0.2;

  template <class V>
  void Visit(V& v) {
    v("clip_low", clip_low, {.help = "The ratio is clipped at 1 - clip_low.", .min = 0, .max = 1});
    v("clip_high", clip_high, {.help = "The ratio is clipped at 1 + clip_high.", .min = 0, .max = 100});
  }
};

class ClippedPolicyGradient : public Loss {
 public:
  explicit ClippedPolicyGradient(const Options& options) : low_(1 - options.clip_low), high_(1 + options.clip_high) {}

  std::vector<std::string> streams() const override {
    return {stream::kSampleLogprob, stream::kAdvantage, stream::kRlWeight};
  }

  LossOutput Compute(const LossInput& input) const override {
    const at::Tensor& advantage = input.streams.at(stream::kAdvantage);                                      // [M]
    const at::Tensor& weight = input.streams.at(stream::kRlWeight);                                          // [M]
    const at::Tensor ratio = at::exp(input.policy_logprob - input.streams.at(stream::kSampleLogprob));       // [M]
    const at::Tensor objective = at::minimum(ratio * advantage, at::clamp(ratio, low_, high_) * advantage);  // [M]
    LossOutput output;
    output.loss = -(objective * weight).sum();
    // The side on which clipping takes the gradient away, as TRL counts it.
    const at::Tensor detached = ratio.detach();
    output.sums[metric::kClipRatioLowMean] = (weight * ((detached < low_) & (advantage < 0))).sum();
    output.sums[metric::kClipRatioHighMean] = (weight * ((detached > high_) & (advantage > 0))).sum();
    return output;
  }

 private:
  const double low_, high_;
};

}  // namespace

LossPlugin Loss_clipped_policy_gradient() {
  return MakeLossPlugin<Options, ClippedPolicyGradient>("The clipped surrogate of PPO and GRPO, token by token.",
                                                        {.policy_gradient = true});
}

}  // namespace grpo
