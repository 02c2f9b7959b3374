#include "trainer/algorithm/rollout_metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "reward/outcome.h"
#include "trainer/records/metrics.h"

namespace grpo {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

using Metrics = std::map<std::string, double>;

// Every sample counts, scored or not.
class Samples {
 public:
  void Add(const v1::ScoredCompletion& scored) {
    ++count_;
    num_tokens_ += scored.completion().ids_size();
    // What sampled it may know no tokens.
    if (scored.completion().ids_size() > 0) {
      const double length = static_cast<double>(CompletionLength(scored.completion()));
      ++num_lengths_;
      length_sum_ += length;
      min_length_ = std::min(min_length_, length);
      max_length_ = std::max(max_length_, length);
    }
    clipped_ += scored.completion().finish_reason() == v1::FINISH_REASON_LENGTH;
    const v1::Outcome outcome = scored.score().outcome();
    if (outcome != v1::OUTCOME_SCORED) ++outcomes_["outcomes/" + OutcomeName(outcome)];
    excluded_ += scored.score().excluded();
  }

  void Report(Metrics& metrics) const {
    metrics.insert(outcomes_.begin(), outcomes_.end());
    metrics[metric::kSamplesExcluded] = excluded_;
    metrics[metric::kNumTokens] = num_tokens_;
    if (num_lengths_ > 0) {
      metrics[metric::kCompletionsMeanLength] = length_sum_ / num_lengths_;
      metrics[metric::kCompletionsMinLength] = min_length_;
      metrics[metric::kCompletionsMaxLength] = max_length_;
    }
    if (count_ > 0) metrics[metric::kCompletionsClippedRatio] = clipped_ / count_;
  }

 private:
  double count_ = 0, excluded_ = 0, num_tokens_ = 0, num_lengths_ = 0, length_sum_ = 0, clipped_ = 0;
  double min_length_ = kInfinity, max_length_ = 0;
  Metrics outcomes_;
};

// Samples with a reward; a mean over nothing is left out, not written as 0.
class Rewards {
 public:
  void Add(const ScoredGroup& group) {
    double lowest = kInfinity, highest = -kInfinity;
    for (const v1::ScoredCompletion& scored : group.completions) {
      const v1::Score& score = scored.score();
      if (score.excluded()) continue;
      ++count_;
      sum_ += score.value();
      squares_ += score.value() * score.value();
      lowest = std::min(lowest, score.value());
      highest = std::max(highest, score.value());
      for (const v1::RuleScore& rule : score.rules()) rule_sums_[metric::RuleMean(rule.name())] += rule.value();
    }
    num_groups_ += lowest <= highest;
    zero_std_ += lowest == highest;
  }

  void Report(Metrics& metrics) const {
    if (count_ == 0) return;
    const double mean = sum_ / count_;
    metrics[metric::kReward] = mean;
    if (count_ > 1)
      metrics[metric::kRewardStd] = std::sqrt(std::max(0.0, (squares_ - count_ * mean * mean) / (count_ - 1)));
    metrics[metric::kFracRewardZeroStd] = zero_std_ / num_groups_;
    for (const auto& [name, sum] : rule_sums_) metrics[name] = sum / count_;
  }

 private:
  double count_ = 0, sum_ = 0, squares_ = 0, num_groups_ = 0, zero_std_ = 0;
  Metrics rule_sums_;
};

}  // namespace

std::map<std::string, double> RolloutMetrics(const std::vector<ScoredGroup>& groups) {
  Samples samples;
  Rewards rewards;
  double sample_seconds = 0, score_seconds = 0;
  for (const ScoredGroup& group : groups) {
    for (const v1::ScoredCompletion& scored : group.completions) samples.Add(scored);
    rewards.Add(group);
    sample_seconds = std::max(sample_seconds, group.generate_seconds);
    score_seconds = std::max(score_seconds, group.score_seconds);
  }
  Metrics metrics;
  samples.Report(metrics);
  rewards.Report(metrics);
  metrics[metric::kSampleSeconds] = sample_seconds;
  metrics[metric::kScoreSeconds] = score_seconds;
  return metrics;
}

}  // namespace grpo
