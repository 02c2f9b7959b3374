// Keys of a train stage with `algorithm: grpo`.
#ifndef GRPO_TRAINER_ALGORITHM_GRPO_OPTIONS_H_
#define GRPO_TRAINER_ALGORITHM_GRPO_OPTIONS_H_

#include <string>
#include <utility>
#include <vector>

#include "configs/visit.h"
#include "trainer/options.h"

namespace grpo {

struct GrpoOptions {
  std::string rewards;
  int64_t prompts_per_step = 32;
  int64_t group_size = 8;
  SamplingOptions sampling;
  std::string scale_rewards = "group";
  double std_eps = 1e-4;
  std::string loss_reduction = "token_mean";
  double clip_low = 0.2, clip_high = 0.2;
  double kl_coefficient = 0.0;
  std::string reference_policy;
  int64_t iterations_per_step = 1;
  int64_t minibatches_per_iteration = 1;

  // What is wrong about keys that are each in range: key and message.
  std::vector<std::pair<const char*, const char*>> Conflicts() const {
    std::vector<std::pair<const char*, const char*>> conflicts;
    if (sampling.temperature == 0) {
      conflicts.emplace_back("sampling.temperature", "is 0: every completion of a group would be the same; 1 is usual");
    }
    if (sampling.top_p < 1) {
      conflicts.emplace_back("sampling.top_p", "is below 1, and the loss is of the whole distribution; set it to 1");
    }
    if (sampling.top_k > 0) {
      conflicts.emplace_back("sampling.top_k", "is above 0, and the loss is of the whole distribution; set it to 0");
    }
    if (sampling.min_p > 0) {
      conflicts.emplace_back("sampling.min_p", "is above 0, and the loss is of the whole distribution; set it to 0");
    }
    if (!sampling.stop.empty()) {
      conflicts.emplace_back("sampling.stop",
                             "names stop strings: the policy would learn from text that no end token of its own ends; "
                             "leave it out");
    }
    if (kl_coefficient > 0 && reference_policy.empty()) {
      conflicts.emplace_back("kl_coefficient", "is above 0, which needs a reference_policy; name one, or set it to 0");
    }
    return conflicts;
  }

  template <class V>
  void Visit(V& v) {
    v("rewards", rewards, {.help = "Key under `rewards`: the rules that score completions.", .required = true});
    v("prompts_per_step", prompts_per_step, {.help = "Problems in one step's batch.", .min = 1, .max = 1 << 24});
    v("group_size", group_size,
      {.help = "Completions per problem, G; the baseline is the group's mean.", .min = 2, .max = 4096});
    v("sampling", sampling, {.help = "How completions are drawn."});
    v("scale_rewards", scale_rewards,
      {.help = "group: advantages are divided by the group's standard deviation (ddof 1) plus std_eps, as in "
               "arXiv:2402.03300; none: "
               "they are not, as in Dr. GRPO, arXiv:2503.20783.",
       .choices = {"group", "none"}});
    v("std_eps", std_eps, {.help = "Added to the group's standard deviation.", .min = 0, .max = 1});
    v("loss_reduction", loss_reduction,
      {.help = "token_mean: every token of the batch counts alike (DAPO, arXiv:2503.14476); sequence_mean: every "
               "completion counts "
               "alike, its tokens share its weight (arXiv:2402.03300).",
       .choices = {"token_mean", "sequence_mean"}});
    v("clip_low", clip_low, {.help = "The probability ratio is clipped at 1 - clip_low.", .min = 0, .max = 1});
    v("clip_high", clip_high,
      {.help = "The probability ratio is clipped at 1 + clip_high; above clip_low it is DAPO's clip-higher.",
       .min = 0,
       .max = 100});
    v("kl_coefficient", kl_coefficient,
      {.help = "Weight of the k3 estimate of KL(policy || reference_policy) in the loss; 0 needs no reference.",
       .min = 0,
       .max = 100});
    v("reference_policy", reference_policy,
      {.help = "Key under `policies`: the frozen weights that the KL term holds on to."});
    v("iterations_per_step", iterations_per_step,
      {.help = "Passes over each step's batch (mu of arXiv:2402.03300).", .min = 1, .max = 1000});
    v("minibatches_per_iteration", minibatches_per_iteration,
      {.help = "Optimizer updates in one pass, each on its share of the groups.", .min = 1, .max = 1 << 20});
  }
};

}  // namespace grpo

#endif  // GRPO_TRAINER_ALGORITHM_GRPO_OPTIONS_H_
