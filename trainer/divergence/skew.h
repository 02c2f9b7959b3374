// The option that DistiLLM's divergences have in common.
#ifndef GRPO_TRAINER_DIVERGENCE_SKEW_H_
#define GRPO_TRAINER_DIVERGENCE_SKEW_H_

namespace grpo {

struct SkewOptions {
  double skew = 0.1;

  template <class V>
  void Visit(V& v) {
    v("skew", skew,
      {.help = "Share of the mixture that the first distribution of the KL has itself; 0 is the plain KL.",
       .min = 0,
       .max = 1 - 1e-6});
  }
};

}  // namespace grpo

#endif  // GRPO_TRAINER_DIVERGENCE_SKEW_H_
