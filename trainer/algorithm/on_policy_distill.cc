// On-policy distillation (GKD, arXiv:2306.13649; MiniLLM, arXiv:2306.08543): the student writes, and teachers say of
// every token what they would have written there. With D the divergence over the whole vocabulary, or the reverse KL of
// the sampled tokens as a policy gradient (sampled_token):
//   loss = lambda * D on the student's own completions + (1 - lambda) * D on a teacher's traces
//          + reward_weight * clipped policy gradient of the group-relative advantage (arXiv:2402.03300)
// Departures: GKD draws for each batch whether it is on policy; here every step has both, in the shares of lambda. In
// the sampled form, traces teach by cross-entropy.
#include <utility>

#include "common/status_macros.h"
#include "trainer/algorithm/algorithm_plugin.h"
#include "trainer/algorithm/group_sampling.h"
#include "trainer/algorithm/reduction.h"
#include "trainer/algorithm/rollout_metrics.h"
#include "trainer/algorithm/teachers.h"
#include "trainer/algorithm/trace_streams.h"

namespace grpo {
namespace {

struct Options {
  GroupSampling groups;
  Teachers teachers;
  bool sampled_token = false;
  double reward_weight = 0;
  double lambda = 1;
  std::string traces;
  int64_t traces_per_step = 32;

  template <class V>
  void Visit(V& v) {
    groups.Visit(v);
    teachers.Visit(v);
    v("sampled_token", sampled_token,
      {.help =
           "In place of the divergence over the vocabulary: the reverse KL of the sampled tokens as a policy gradient, "
           "which needs one teacher's log-probabilities and no more."});
    v("reward_weight", reward_weight,
      {.help =
           "Factor of the policy gradient of the rules' reward, added to the distillation; 0: the rules only measure.",
       .min = 0,
       .max = 1e6});
    v("lambda", lambda,
      {.help = "Share of the loss that the student's own completions have; the traces have the rest.",
       .min = 0,
       .max = 1});
    v("traces", traces, {.help = "Key under `data`: a teacher's traces, where lambda is below 1."});
    v("traces_per_step", traces_per_step,
      {.help = "Traces in one step's batch, where lambda is below 1.", .unit = "traces", .min = 1, .max = 1 << 24});
  }
};

class OnPolicyDistill : public Algorithm {
 public:
  explicit OnPolicyDistill(const Options& options) : options_(options) {}

  StepPlan plan() const override {
    RolloutPlan plan = options_.groups.Plan(/*updates_per_step=*/1);
    if (mixed()) {
      plan.traces = {.traces_per_step = options_.traces_per_step};
      plan.traces_data = options_.traces;
    }
    return plan;
  }
  std::vector<LossTerm> losses() const override {
    std::vector<LossTerm> terms;
    if (options_.sampled_token) {
      terms.push_back({.name = "sampled_reverse_kl"});
      if (mixed()) terms.push_back({.name = "cross_entropy"});
    }
    for (LossTerm& term : TeachersWithLosses().Losses(Schedule::Constant(1))) terms.push_back(std::move(term));
    if (options_.reward_weight > 0) {
      terms.push_back({.name = "clipped_policy_gradient", .coefficient = Schedule::Constant(options_.reward_weight)});
    }
    return terms;
  }
  double temperature() const override { return options_.groups.sampling.temperature; }
  std::vector<FrozenPolicy> frozen() const override {
    std::vector<FrozenPolicy> frozen = TeachersWithLosses().Frozen();
    if (options_.sampled_token && !soft_labels().teachers.empty())
      frozen.push_back({.policy = soft_labels().teachers[0].policy, .stream = stream::kTeacherLogprob});
    return frozen;
  }
  std::vector<Reference> references() const override {
    std::vector<Reference> references = options_.teachers.References();
    references.push_back({"rewards", "rewards", options_.groups.rewards, true});
    references.push_back({"traces", "data", options_.traces, mixed()});
    return references;
  }
  std::vector<Conflict> ShapeConflicts(const ModelConfig& student,
                                       const std::map<std::string, const ModelConfig*>& frozen) const override {
    return options_.teachers.ShapeConflicts(student, frozen);
  }
  LossNeed loss_need(const ModelConfig& student,
                     const std::map<std::string, const ModelConfig*>& frozen) const override {
    return options_.teachers.Need(student, frozen);
  }

  absl::StatusOr<StepBatch> Prepare(const StepInput& input) const override {
    ASSIGN_OR_RETURN(const RolloutInput* const given, InputOf<RolloutInput>(input));
    StepBatch batch;
    batch.metrics = RolloutMetrics(given->groups);
    std::vector<TokenStreams> sampled, traces;
    for (size_t g = 0; g < given->groups.size(); ++g)
      options_.groups.AppendGroup(given->groups[g], static_cast<int64_t>(g), sampled);
    for (const TokenizedTrace& trace : given->traces) {
      TokenStreams& sequence = traces.emplace_back(TraceStreams(trace));
      sequence.group = static_cast<int64_t>(given->groups.size() + traces.size()) - 1;
      FillStream(stream::kSampleLogprob, stream::kNotSampled, &sequence);
      FillStream(stream::kAdvantage, 0, &sequence);
    }
    const double share = mixed() ? options_.lambda : 1;
    SetWeights(sampled, /*on_policy=*/true, share);
    SetWeights(traces, /*on_policy=*/false, 1 - share);
    for (TokenStreams& sequence : traces) sampled.push_back(std::move(sequence));
    if (!sampled.empty()) batch.minibatches.push_back(std::move(sampled));
    return batch;
  }

 protected:
  std::vector<Conflict> OwnConflicts() const override {
    std::vector<Conflict> conflicts = options_.groups.Conflicts();
    for (Conflict& conflict : options_.teachers.Conflicts()) conflicts.push_back(std::move(conflict));
    if (soft_labels().teachers.empty())
      conflicts.push_back({"teachers", "is empty: name at least one, such as [{policy: teacher}]"});
    for (size_t i = 0; i < soft_labels().teachers.size(); ++i) {
      if (soft_labels().teachers[i].stored)
        conflicts.push_back(
            {"teachers", "has a stored one, which knows nothing of what the student writes; name a policy"});
    }
    if (options_.sampled_token && soft_labels().teachers.size() > 1)
      conflicts.push_back({"sampled_token", "goes with one teacher; leave the others out, or set it to false"});
    return conflicts;
  }

 private:
  bool mixed() const { return options_.lambda < 1; }
  const SoftLabelsOptions& soft_labels() const { return options_.teachers.soft_labels; }

  // Those whose terms are soft labels or features: in the sampled form, features alone.
  Teachers TeachersWithLosses() const {
    Teachers teachers = options_.teachers;
    if (options_.sampled_token) teachers.soft_labels.teachers.clear();
    return teachers;
  }

  // The targets of these sequences share `share` of the distillation terms. The reward is of what was sampled alone.
  void SetWeights(std::vector<TokenStreams>& sequences, bool on_policy, double share) const {
    const std::vector<double> weights = TargetWeights(sequences, options_.groups.loss_reduction);
    for (size_t i = 0; i < sequences.size(); ++i) {
      const bool by_cross_entropy = options_.sampled_token && !on_policy;
      FillStream(stream::kDistillWeight, by_cross_entropy ? 0 : share * weights[i], &sequences[i]);
      FillStream(stream::kCeWeight, by_cross_entropy ? share * weights[i] : 0, &sequences[i]);
      FillStream(stream::kRlWeight, on_policy ? weights[i] : 0, &sequences[i]);
    }
  }

  const Options options_;
};

}  // namespace

AlgorithmPlugin Algorithm_on_policy_distill() {
  return MakeAlgorithmPlugin<Options, OnPolicyDistill>(
      "On-policy distillation: the student samples, teachers judge every token; with the rules' reward beside, if "
      "asked.");
}

}  // namespace grpo
