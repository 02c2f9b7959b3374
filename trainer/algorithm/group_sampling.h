// What every algorithm that samples groups has in common: its keys, its plan, and the sequences and advantages of a
// scored group. Links no torch.
#ifndef GRPO_TRAINER_ALGORITHM_GROUP_SAMPLING_H_
#define GRPO_TRAINER_ALGORITHM_GROUP_SAMPLING_H_

#include <cstdint>
#include <string>
#include <vector>

#include "coordinator/scored_group.h"
#include "trainer/algorithm/algorithm.h"
#include "trainer/batch/streams.h"
#include "trainer/options.h"
#include "trainer/plugin.h"

namespace grpo {

// Keys of an algorithm.
struct GroupSampling {
  std::string rewards;
  int64_t prompts_per_step = 32;
  int64_t group_size = 8;
  SamplingOptions sampling;
  std::string scale_rewards = "group";
  double std_eps = 1e-4;
  std::string loss_reduction = "token_mean";

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
  }

  RolloutPlan Plan(int64_t updates_per_step) const {
    return {.rewards = rewards,
            .prompts_per_step = prompts_per_step,
            .group_size = group_size,
            .sampling = sampling,
            .updates_per_step = updates_per_step};
  }
  // What of the sampling keys does not go with a loss of the whole distribution.
  std::vector<Conflict> Conflicts() const;
  // Adds the group's sequences (RolloutStreams), with their advantage. `number` is the group's in the step's batch.
  void AppendGroup(const ScoredGroup& group, int64_t number, std::vector<TokenStreams>& sequences) const;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_ALGORITHM_GROUP_SAMPLING_H_
