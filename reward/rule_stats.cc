#include "reward/rule_stats.h"

#include "absl/strings/str_cat.h"
#include "reward/outcome.h"

namespace grpo {

void RuleStats::Add(v1::Outcome outcome, double value, std::chrono::steady_clock::duration took) {
  const double seconds = std::chrono::duration<double>(took).count();
  size_t bucket = 0;
  while (bucket < kBuckets.size() && seconds > kBuckets[bucket]) ++bucket;
  // Independent counters: a reader may see one ahead of another by the calls in flight.
  outcomes_[outcome].fetch_add(1, std::memory_order_relaxed);
  buckets_[bucket].fetch_add(1, std::memory_order_relaxed);
  value_sum_.fetch_add(value, std::memory_order_relaxed);
  seconds_sum_.fetch_add(seconds, std::memory_order_relaxed);
}

void RuleMetricsText::Add(const std::string& profile, const std::string& rule, const RuleStats& stats) {
  // Names in a configuration are letters, digits, _ and -, so that they need no escaping.
  const std::string labels = absl::StrCat("profile=\"", profile, "\",rule=\"", rule, "\"");
  for (size_t i = 1; i < stats.outcomes_.size(); ++i) {
    absl::StrAppend(&scores_, "grpo_reward_scores_total{", labels, ",outcome=\"",
                    OutcomeName(static_cast<v1::Outcome>(i)), "\"} ", stats.outcomes_[i].load(), "\n");
  }
  absl::StrAppend(&values_, "grpo_reward_value_sum{", labels, "} ", stats.value_sum_.load(), "\n");
  uint64_t total = 0;
  for (size_t i = 0; i < stats.buckets_.size(); ++i) {
    total += stats.buckets_[i].load();
    const std::string bound = i < RuleStats::kBuckets.size() ? absl::StrCat(RuleStats::kBuckets[i]) : "+Inf";
    absl::StrAppend(&seconds_, "grpo_reward_rule_seconds_bucket{", labels, ",le=\"", bound, "\"} ", total, "\n");
  }
  absl::StrAppend(&seconds_, "grpo_reward_rule_seconds_sum{", labels, "} ", stats.seconds_sum_.load(), "\n",
                  "grpo_reward_rule_seconds_count{", labels, "} ", total, "\n");
}

std::string RuleMetricsText::Text() const {
  return absl::StrCat(
      "# HELP grpo_reward_scores_total Completions that a rule has looked at, by what became of it.\n"
      "# TYPE grpo_reward_scores_total counter\n",
      scores_,
      "# HELP grpo_reward_value_sum Sum of a rule's raw values.\n"
      "# TYPE grpo_reward_value_sum gauge\n",
      values_,
      "# HELP grpo_reward_rule_seconds Time that a rule took for a completion.\n"
      "# TYPE grpo_reward_rule_seconds histogram\n",
      seconds_);
}

}  // namespace grpo
