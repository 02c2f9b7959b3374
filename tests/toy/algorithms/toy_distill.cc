// A method as somebody else would add it: samples from the policy, and pulls each completion's probability towards the
// one that a teacher gives it. It has an option of its own, hands another to its loss, and names a policy that is only
// read.
#include <string>
#include <utility>
#include <vector>

#include "common/status_macros.h"
#include "configs/load.h"
#include "trainer/algorithm/algorithm_plugin.h"
#include "trainer/algorithm/reduction.h"
#include "trainer/algorithm/rollout_metrics.h"
#include "trainer/algorithm/rollout_streams.h"

namespace grpo {
namespace {

struct Options {
  std::string rewards;
  std::string teacher_policy;
  int64_t groups_per_step = 4;
  double strength = 1.0;
  SamplingOptions sampling;

  template <class V>
  void Visit(V& v) {
    v("rewards", rewards, {.help = "Key under `rewards`: what is reported of the completions.", .required = true});
    v("teacher_policy", teacher_policy, {.help = "Key under `policies`: the frozen teacher.", .required = true});
    v("groups_per_step", groups_per_step, {.help = "Problems in one step's batch, two completions each.", .min = 1});
    v("strength", strength, {.help = "Factor of the loss.", .min = 0});
    v("sampling", sampling, {.help = "How completions are drawn."});
  }
};

class ToyDistill : public Algorithm {
 public:
  explicit ToyDistill(const Options& options) : options_(options) {}

  StepPlan plan() const override {
    return RolloutPlan{.rewards = options_.rewards,
                       .prompts_per_step = options_.groups_per_step,
                       .group_size = 2,
                       .sampling = options_.sampling};
  }
  std::vector<LossTerm> losses() const override {
    return {{.name = "toy_gap", .options = WithNumber({}, "strength", options_.strength)}};
  }
  std::vector<FrozenPolicy> frozen() const override {
    return {{.policy = options_.teacher_policy, .stream = "teacher_logprob"}};
  }
  std::vector<Reference> references() const override {
    return {{"rewards", "rewards", options_.rewards, true},
            {"teacher_policy", "policies", options_.teacher_policy, true}};
  }

  absl::StatusOr<StepBatch> Prepare(const StepInput& input) const override {
    ASSIGN_OR_RETURN(const RolloutInput* const rollouts, InputOf<RolloutInput>(input));
    StepBatch batch;
    batch.metrics = RolloutMetrics(rollouts->groups);
    std::vector<TokenStreams>& sequences = batch.minibatches.emplace_back();
    for (size_t g = 0; g < rollouts->groups.size(); ++g) {
      for (TokenStreams& sequence : RolloutStreams(rollouts->groups[g], static_cast<int64_t>(g)))
        sequences.push_back(std::move(sequence));
    }
    const std::vector<double> weights = TargetWeights(sequences, "sequence_mean");
    for (size_t i = 0; i < sequences.size(); ++i) {
      sequences[i].streams[stream::kRlWeight] =
          std::vector<float>(sequences[i].ids.size(), static_cast<float>(weights[i]));
    }
    return batch;
  }

 private:
  const Options options_;
};

}  // namespace

AlgorithmPlugin Algorithm_toy_distill() {
  return MakeAlgorithmPlugin<Options, ToyDistill>("Pulls completions towards a teacher; for tests.");
}

}  // namespace grpo
