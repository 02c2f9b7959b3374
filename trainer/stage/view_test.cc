#include "trainer/stage/view.h"

#include "gtest/gtest.h"

namespace grpo {
namespace {

TEST(MatchMetricTest, APatternWithoutStarIsTheMetricsName) {
  EXPECT_EQ(MatchMetric("loss", "loss"), "");
  EXPECT_EQ(MatchMetric("loss", "losses"), std::nullopt);
}

TEST(MatchMetricTest, AStarStandsForAnyText) {
  EXPECT_EQ(MatchMetric("rewards/*/mean", "rewards/math_answer/mean"), "math_answer");
  EXPECT_EQ(MatchMetric("*_rate", "format_rate"), "format");
  EXPECT_EQ(MatchMetric("pass_at_*", "pass_at_8"), "8");
  EXPECT_EQ(MatchMetric("rewards/*/mean", "rewards/math_answer/std"), std::nullopt);
  // What stands before and behind the star does not overlap.
  EXPECT_EQ(MatchMetric("ab*ba", "aba"), std::nullopt);
}

}  // namespace
}  // namespace grpo
