// Group relative policy optimisation (arXiv:2402.03300): a group's rewards are each other's baseline. Switches and
// their papers are in grpo_options.h; departures from the paper's formula in loss/clipped_policy_gradient.cc and
// loss/reference_kl.cc.
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "trainer/algorithm/advantage.h"
#include "trainer/algorithm/algorithm.h"
#include "trainer/algorithm/grpo_options.h"
#include "trainer/algorithm/reduction.h"
#include "trainer/algorithm/rollout_metrics.h"

namespace grpo {
namespace {

// The tokens of a completion that the loss may read.
std::vector<bool> TrainableTokens(const v1::Completion& completion) {
  std::vector<bool> trainable;
  for (const v1::Span& span : completion.spans())
    trainable.insert(trainable.end(), span.num_tokens(), span.trainable());
  return trainable;
}

TokenStreams ToStreams(const ScoredGroup& group, const v1::ScoredCompletion& scored, double advantage) {
  const v1::Completion& completion = scored.completion();
  const size_t prompt_tokens = group.prompt_ids.size();
  TokenStreams sequence;
  sequence.ids.assign(group.prompt_ids.begin(), group.prompt_ids.end());
  sequence.ids.insert(sequence.ids.end(), completion.ids().begin(), completion.ids().end());
  const size_t size = sequence.ids.size();
  sequence.trainable_mask.assign(prompt_tokens, false);
  if (!scored.score().excluded()) {
    const std::vector<bool> trainable = TrainableTokens(completion);
    sequence.trainable_mask.insert(sequence.trainable_mask.end(), trainable.begin(), trainable.end());
  }
  sequence.trainable_mask.resize(size, false);
  std::vector<float>& sample_logprob = sequence.streams[stream::kSampleLogprob];
  sample_logprob.assign(prompt_tokens, 0.0f);
  sample_logprob.insert(sample_logprob.end(), completion.sample_logprob().begin(), completion.sample_logprob().end());
  sequence.streams[stream::kAdvantage].assign(size, static_cast<float>(advantage));
  return sequence;
}

class Grpo : public Algorithm {
 public:
  explicit Grpo(const GrpoOptions& options) : options_(options) {}

  std::optional<RolloutPlan> rollouts() const override {
    return RolloutPlan{.rewards = options_.rewards,
                       .prompts_per_step = options_.prompts_per_step,
                       .group_size = options_.group_size,
                       .sampling = options_.sampling};
  }
  std::vector<std::string> losses() const override {
    if (options_.kl_coefficient == 0) return {"clipped_policy_gradient"};
    return {"clipped_policy_gradient", "reference_kl"};
  }
  LossOptions loss_options() const override { return {.clip_low = options_.clip_low, .clip_high = options_.clip_high}; }
  double temperature() const override { return options_.sampling.temperature; }
  std::string reference_policy() const override {
    return options_.kl_coefficient == 0 ? "" : options_.reference_policy;
  }

  absl::StatusOr<StepBatch> Prepare(const StepInput& input) const override {
    StepBatch batch;
    batch.iterations = options_.iterations_per_step;
    batch.metrics = RolloutMetrics(input.groups);
    const int64_t num_groups = static_cast<int64_t>(input.groups.size());
    const int64_t num_minibatches = std::min(options_.minibatches_per_iteration, num_groups);
    for (int64_t i = 0; i < num_minibatches; ++i) {
      std::vector<TokenStreams>& sequences = batch.minibatches.emplace_back();
      for (int64_t g = i * num_groups / num_minibatches; g < (i + 1) * num_groups / num_minibatches; ++g) {
        AppendGroup(input.groups[g], sequences);
      }
      SetWeights(sequences);
    }
    return batch;
  }

 private:
  void AppendGroup(const ScoredGroup& group, std::vector<TokenStreams>& sequences) const {
    std::vector<std::optional<double>> rewards;
    for (const v1::ScoredCompletion& scored : group.completions) {
      rewards.push_back(scored.score().excluded() ? std::nullopt : std::make_optional(scored.score().value()));
    }
    const bool scale = options_.scale_rewards == "group";
    const std::vector<double> advantages =
        GroupAdvantages(rewards, scale ? std::make_optional(options_.std_eps) : std::nullopt);
    for (size_t i = 0; i < group.completions.size(); ++i)
      sequences.push_back(ToStreams(group, group.completions[i], advantages[i]));
  }

  void SetWeights(std::vector<TokenStreams>& sequences) const {
    const std::vector<double> weights = TargetWeights(sequences, options_.loss_reduction);
    for (size_t i = 0; i < sequences.size(); ++i) {
      TokenStreams& sequence = sequences[i];
      sequence.streams[stream::kRlWeight].assign(sequence.ids.size(), static_cast<float>(weights[i]));
      if (options_.kl_coefficient != 0) {
        sequence.streams[stream::kKlWeight].assign(sequence.ids.size(),
                                                   static_cast<float>(options_.kl_coefficient * weights[i]));
      }
    }
  }

  const GrpoOptions options_;
};

}  // namespace

std::unique_ptr<Algorithm> MakeAlgorithm_grpo(const GrpoOptions& options) {
  return std::make_unique<Grpo>(options);
}

}  // namespace grpo
