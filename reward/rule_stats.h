// What a rule did, for GET /metrics in Prometheus' text format.
#ifndef GRPO_REWARD_RULE_STATS_H_
#define GRPO_REWARD_RULE_STATS_H_

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>

#include "proto/types.pb.h"

namespace grpo {

// Counters of one rule of one profile. Thread-safe.
class RuleStats {
 public:
  // Upper bounds of the histogram's buckets in seconds; one more takes the rest.
  static constexpr std::array<double, 8> kBuckets = {1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1, 10, 60};

  // Counts one completion; `value` is 0 unless it was scored.
  void Add(v1::Outcome outcome, double value, std::chrono::steady_clock::duration took);

 private:
  friend class RuleMetricsText;
  std::array<std::atomic<uint64_t>, v1::Outcome_ARRAYSIZE> outcomes_ = {};
  std::array<std::atomic<uint64_t>, kBuckets.size() + 1> buckets_ = {};
  // Of the raw values, and of the time that scoring took.
  std::atomic<double> value_sum_ = 0, seconds_sum_ = 0;
};

// Collects the counters of many rules, so that each metric's lines stand together as Prometheus asks. One thread.
class RuleMetricsText {
 public:
  // Appends the series of one rule; each (profile, rule) once.
  void Add(const std::string& profile, const std::string& rule, const RuleStats& stats);
  // All that was added, each metric with its HELP and TYPE.
  std::string Text() const;

 private:
  // Lines of one metric each.
  std::string scores_, seconds_, values_;
};

}  // namespace grpo

#endif  // GRPO_REWARD_RULE_STATS_H_
