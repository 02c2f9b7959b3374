#include "trainer/algorithm/rollout_metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "reward/outcome.h"

namespace grpo {

int64_t CompletionLength(const v1::Completion& completion) {
  const bool ended = completion.finish_reason() == v1::FINISH_REASON_STOP && completion.ids_size() > 0;
  return completion.ids_size() - (ended ? 1 : 0);
}

const v1::RuleScore* FindRule(const v1::Score& score, absl::string_view name) {
  for (const v1::RuleScore& rule : score.rules()) {
    if (rule.name() == name) return &rule;
  }
  return nullptr;
}

std::map<std::string, double> RolloutMetrics(const std::vector<ScoredGroup>& groups) {
  double num_samples = 0, num_lengths = 0, num_rewards = 0, reward_sum = 0, reward_squares = 0, zero_std = 0,
         clipped = 0, length_sum = 0, num_tokens = 0;
  double min_length = std::numeric_limits<double>::infinity(), max_length = 0, sample_seconds = 0, score_seconds = 0;
  std::map<std::string, double> rule_sums, outcomes;
  for (const ScoredGroup& group : groups) {
    double group_min = std::numeric_limits<double>::infinity(), group_max = -group_min;
    for (const v1::ScoredCompletion& scored : group.completions) {
      const v1::Score& score = scored.score();
      ++num_samples;
      // What samples it may know no tokens.
      if (scored.completion().ids_size() > 0) {
        const double length = static_cast<double>(CompletionLength(scored.completion()));
        ++num_lengths;
        num_tokens += scored.completion().ids_size();
        length_sum += length;
        min_length = std::min(min_length, length);
        max_length = std::max(max_length, length);
      }
      clipped += scored.completion().finish_reason() == v1::FINISH_REASON_LENGTH;
      if (score.outcome() != v1::OUTCOME_SCORED) ++outcomes["outcomes/" + OutcomeName(score.outcome())];
      if (score.excluded()) continue;
      ++num_rewards;
      reward_sum += score.value();
      reward_squares += score.value() * score.value();
      group_min = std::min(group_min, score.value());
      group_max = std::max(group_max, score.value());
      for (const v1::RuleScore& rule : score.rules())
        rule_sums[absl::StrCat("rewards/", rule.name(), "/mean")] += rule.value();
    }
    zero_std += group_min >= group_max;
    sample_seconds = std::max(sample_seconds, group.generate_seconds);
    score_seconds = std::max(score_seconds, group.score_seconds);
  }
  std::map<std::string, double> metrics = std::move(outcomes);
  metrics["samples_excluded"] = num_samples - num_rewards;
  metrics["num_tokens"] = num_tokens;
  metrics["sample_seconds"] = sample_seconds;
  metrics["score_seconds"] = score_seconds;
  if (num_lengths > 0) {
    metrics["completions/mean_length"] = length_sum / num_lengths;
    metrics["completions/min_length"] = min_length;
    metrics["completions/max_length"] = max_length;
  }
  if (num_samples > 0) {
    metrics["completions/clipped_ratio"] = clipped / num_samples;
    metrics["frac_reward_zero_std"] = zero_std / static_cast<double>(groups.size());
  }
  // A mean over nothing is left out, not written as 0.
  if (num_rewards > 0) {
    const double mean = reward_sum / num_rewards;
    metrics["reward"] = mean;
    if (num_rewards > 1)
      metrics["reward_std"] =
          std::sqrt(std::max(0.0, (reward_squares - num_rewards * mean * mean) / (num_rewards - 1)));
    for (const auto& [name, sum] : rule_sums) metrics[name] = sum / num_rewards;
  }
  return metrics;
}

}  // namespace grpo
