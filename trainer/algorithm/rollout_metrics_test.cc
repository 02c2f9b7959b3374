#include "trainer/algorithm/rollout_metrics.h"

#include <cmath>

#include "common/status_testing.h"

namespace grpo {
namespace {

v1::ScoredCompletion Completion(int tokens, double value, bool excluded = false) {
  v1::ScoredCompletion scored;
  for (int t = 0; t < tokens; ++t) scored.mutable_completion()->add_ids(1);
  scored.mutable_completion()->set_finish_reason(v1::FINISH_REASON_STOP);
  scored.mutable_score()->set_outcome(excluded ? v1::OUTCOME_DEADLINE : v1::OUTCOME_SCORED);
  scored.mutable_score()->set_value(value);
  scored.mutable_score()->set_excluded(excluded);
  v1::RuleScore& rule = *scored.mutable_score()->add_rules();
  rule.set_name("right");
  rule.set_value(value);
  return scored;
}

ScoredGroup Group(std::vector<v1::ScoredCompletion> completions) {
  ScoredGroup group;
  group.completions = std::move(completions);
  group.generate_seconds = static_cast<double>(group.completions.size());
  return group;
}

TEST(RolloutMetricsTest, MeansAreOverAllSamplesOfAllGroups) {
  auto metrics = RolloutMetrics(
      {Group({Completion(3, 1), Completion(5, 0)}), Group({Completion(2, 0), Completion(4, 0), Completion(6, 0)})});
  EXPECT_DOUBLE_EQ(metrics.at("reward"), 0.2);
  // Of 1, 0, 0, 0, 0 with ddof 1: sqrt((0.64 + 4 * 0.04) / 4).
  EXPECT_DOUBLE_EQ(metrics.at("reward_std"), std::sqrt(0.2));
  EXPECT_DOUBLE_EQ(metrics.at("rewards/right/mean"), 0.2);
  EXPECT_EQ(metrics.at("frac_reward_zero_std"), 0.5);
  EXPECT_EQ(metrics.at("completions/mean_length"), 3);
  EXPECT_EQ(metrics.at("completions/min_length"), 1);
  EXPECT_EQ(metrics.at("completions/max_length"), 5);
  EXPECT_EQ(metrics.at("num_tokens"), 20);
  EXPECT_EQ(metrics.at("sample_seconds"), 3);
}

// docs/design.md law 1: what we caused is in no mean.
TEST(RolloutMetricsTest, ExcludedSamplesCountInNoReward) {
  auto metrics = RolloutMetrics({Group({Completion(3, 1), Completion(3, 0), Completion(3, 17, true)}),
                                 Group({Completion(3, 17, true), Completion(3, 17, true)})});
  EXPECT_EQ(metrics.at("reward"), 0.5);
  EXPECT_EQ(metrics.at("rewards/right/mean"), 0.5);
  EXPECT_EQ(metrics.at("samples_excluded"), 3);
  EXPECT_EQ(metrics.at("outcomes/deadline"), 3);
  // The second group has no reward that could be equal to another.
  EXPECT_EQ(metrics.at("frac_reward_zero_std"), 0);
}

TEST(RolloutMetricsTest, AMeanOverNothingIsLeftOut) {
  EXPECT_FALSE(RolloutMetrics({}).contains("completions/mean_length"));
  const auto metrics = RolloutMetrics({Group({Completion(3, 0, true)})});
  for (const char* name : {"reward", "reward_std", "rewards/right/mean", "frac_reward_zero_std"})
    EXPECT_FALSE(metrics.contains(name)) << name;
}

}  // namespace
}  // namespace grpo
