// Group relative policy optimisation (arXiv:2402.03300): a group's rewards are each other's baseline. Departures from
// the paper's formula are in loss/clipped_policy_gradient.cc and loss/reference_kl.cc.
#include <algorithm>
#include <utility>

#include "common/status_macros.h"
#include "configs/load.h"
#include "trainer/algorithm/algorithm_plugin.h"
#include "trainer/algorithm/group_sampling.h"
#include "trainer/algorithm/reduction.h"
#include "trainer/algorithm/rollout_metrics.h"

namespace grpo {
namespace {

struct Options {
  GroupSampling groups;
  double clip_low = 0.2, clip_high = 0.2;
  double kl_coefficient = 0.0;
  std::string reference_policy;
  int64_t iterations_per_step = 1;
  int64_t minibatches_per_iteration = 1;

  template <class V>
  void Visit(V& v) {
    groups.Visit(v);
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

class Grpo : public Algorithm {
 public:
  explicit Grpo(const Options& options) : options_(options) {}

  StepPlan plan() const override {
    const GroupSampling& groups = options_.groups;
    const int64_t minibatches = std::min(options_.minibatches_per_iteration, groups.prompts_per_step);
    return groups.Plan(options_.iterations_per_step * minibatches);
  }
  std::vector<LossTerm> losses() const override {
    const Section clip = WithNumber(WithNumber({}, "clip_low", options_.clip_low), "clip_high", options_.clip_high);
    std::vector<LossTerm> terms = {{.name = "clipped_policy_gradient", .options = clip}};
    if (options_.kl_coefficient != 0) terms.push_back({.name = "reference_kl"});
    return terms;
  }
  double temperature() const override { return options_.groups.sampling.temperature; }
  std::vector<FrozenPolicy> frozen() const override {
    if (options_.kl_coefficient == 0) return {};
    return {{.policy = options_.reference_policy, .stream = stream::kRefLogprob}};
  }
  std::vector<Reference> references() const override {
    return {{"rewards", "rewards", options_.groups.rewards, true},
            {"reference_policy", "policies", options_.reference_policy}};
  }

  absl::StatusOr<StepBatch> Prepare(const StepInput& input) const override {
    ASSIGN_OR_RETURN(const RolloutInput* const rollouts, InputOf<RolloutInput>(input));
    const std::vector<ScoredGroup>& groups = rollouts->groups;
    StepBatch batch;
    batch.iterations = options_.iterations_per_step;
    batch.metrics = RolloutMetrics(groups);
    const int64_t num_groups = static_cast<int64_t>(groups.size());
    const int64_t num_minibatches = std::min(options_.minibatches_per_iteration, num_groups);
    for (int64_t i = 0; i < num_minibatches; ++i) {
      std::vector<TokenStreams>& sequences = batch.minibatches.emplace_back();
      for (int64_t g = i * num_groups / num_minibatches; g < (i + 1) * num_groups / num_minibatches; ++g) {
        options_.groups.AppendGroup(groups[g], g, sequences);
      }
      SetWeights(sequences);
    }
    return batch;
  }

 protected:
  std::vector<Conflict> OwnConflicts() const override {
    std::vector<Conflict> conflicts = options_.groups.Conflicts();
    if (options_.kl_coefficient > 0 && options_.reference_policy.empty()) {
      conflicts.push_back({"kl_coefficient", "is above 0, which needs a reference_policy; name one, or set it to 0"});
    }
    return conflicts;
  }

 private:
  void SetWeights(std::vector<TokenStreams>& sequences) const {
    const std::vector<double> weights = TargetWeights(sequences, options_.groups.loss_reduction);
    for (size_t i = 0; i < sequences.size(); ++i) {
      FillStream(stream::kRlWeight, weights[i], &sequences[i]);
      if (options_.kl_coefficient != 0)
        FillStream(stream::kKlWeight, options_.kl_coefficient * weights[i], &sequences[i]);
    }
  }

  const Options options_;
};

}  // namespace

AlgorithmPlugin Algorithm_grpo() {
  return MakeAlgorithmPlugin<Options, Grpo>(
      "Group relative policy optimisation (arXiv:2402.03300): samples groups of completions and learns from their "
      "rewards.");
}

}  // namespace grpo
