#include "tools/grpoctl/records/figures.h"

#include <limits>

#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;

TEST(FigureTest, HasItsIntervalWhereTheReportHasOne) {
  StageReport stage;
  stage.metrics = {{"pass_at_1", 0.5},
                   {"pass_at_1_ci_low", 0.4},
                   {"pass_at_1_ci_high", 0.6},
                   {"pass_at_2", 0.7},
                   {"reward", std::numeric_limits<double>::quiet_NaN()}};
  ASSERT_TRUE(FigureOf(stage, "pass_at_1").has_value());
  ASSERT_TRUE(FigureOf(stage, "pass_at_1")->interval.has_value());
  EXPECT_EQ(FigureOf(stage, "pass_at_1")->interval->high, 0.6);
  EXPECT_FALSE(FigureOf(stage, "pass_at_2")->interval.has_value());
  EXPECT_FALSE(FigureOf(stage, "reward").has_value());
  EXPECT_FALSE(FigureOf(stage, "nothing").has_value());
}

TEST(FigureTest, IsWrittenInItsMetricsUnit) {
  EXPECT_EQ(FigureText("pass_at_1", {.value = 0.937, .interval = FigureInterval{.low = 0.9, .high = 0.97}}),
            "93.7 % (90.0 to 97.0)");
  EXPECT_EQ(FigureText("weight_bytes", {.value = 2048}), "2.0 KiB");
  EXPECT_EQ(FigureText("num_parameters", {.value = 164480}), "164,480");
  EXPECT_EQ(FigureText("of_the_future", {.value = 0.25}), "0.25");
  EXPECT_EQ(FigureTitle("maj_at_8"), "maj@8");
}

// The example of Newcombe's paper, table II (a): 56/70 and 48/80, whose Wilson intervals are 0.6919 to 0.8769 and
// 0.4904 to 0.7006; method 10 gives 0.0524 to 0.3339.
TEST(DifferenceTest, IsBoundedByBothIntervals) {
  const Figure p = {.value = 56.0 / 70, .interval = FigureInterval{.low = 0.69186, .high = 0.87687}};
  const Figure q = {.value = 48.0 / 80, .interval = FigureInterval{.low = 0.49041, .high = 0.70063}};
  const Figure difference = Difference(q, p);
  EXPECT_NEAR(difference.value, 0.2, 1e-12);
  ASSERT_TRUE(difference.interval.has_value());
  EXPECT_NEAR(difference.interval->low, 0.0524, 2e-3);
  EXPECT_NEAR(difference.interval->high, 0.3339, 2e-3);
  EXPECT_FALSE(Difference({.value = 1}, p).interval.has_value());
}

TEST(DifferenceTest, IsWrittenWithItsSign) {
  EXPECT_EQ(DifferenceText("pass_at_1", {.value = 0.032, .interval = FigureInterval{.low = -0.01, .high = 0.074}}),
            "+3.2 points (-1.0 to +7.4)");
  EXPECT_EQ(DifferenceText("weight_bytes", {.value = -2048}), "-2.0 KiB");
  EXPECT_EQ(DifferenceText("seconds", {.value = 12.5}), "+12.5");
  EXPECT_EQ(DifferenceText("seconds", {.value = 0}), "0");
}

TEST(MetricsShownTest, LeadingOnesAreFirstAndTrailingOnesLast) {
  StageReport stage;
  for (const char* name : {"a", "b", "c", "c_ci_low", "c_ci_high", "d", "e", "x/y"}) stage.metrics[name] = 1;
  StageTable table{.leading = {"c", "none"}, .trailing = {"b", "a"}, .hidden = {"d"}};
  EXPECT_THAT(MetricsShown(table, {&stage}), ElementsAre("c", "e", "b", "a"));
  table.leading.push_back("x/y");
  EXPECT_THAT(MetricsShown(table, {&stage}), ElementsAre("c", "x/y", "e", "b", "a"));
  table.leading.pop_back();
  table.details = true;
  EXPECT_THAT(MetricsShown(table, {&stage}), ElementsAre("c", "e", "x/y", "b", "a"));
}

}  // namespace
}  // namespace grpo
