#include "trainer/stage/evaluation.h"

#include <cmath>

#include "gtest/gtest.h"

namespace grpo {
namespace {

ProblemSamples Samples(std::vector<ProblemSamples::Sample> samples) {
  return {.samples = std::move(samples)};
}

// Hand-worked: 1 - C(n-c, k) / C(n, k).
TEST(PassAtKTest, MatchesTheCombinatorialDefinition) {
  EXPECT_DOUBLE_EQ(PassAtK(8, 0, 8), 0);
  EXPECT_DOUBLE_EQ(PassAtK(8, 2, 1), 0.25);
  EXPECT_DOUBLE_EQ(PassAtK(4, 1, 2), 1 - 3.0 / 6.0);
  EXPECT_NEAR(PassAtK(8, 3, 4), 1 - 5.0 / 70.0, 1e-15);
  EXPECT_DOUBLE_EQ(PassAtK(8, 5, 4), 1);
}

TEST(AccuracyMetricsTest, AveragesOverProblems) {
  const auto metrics = AccuracyMetrics(
      {Samples({{true, "1"}, {true, "1"}}), Samples({{false, "2"}, {true, "3"}}), Samples({{false, ""}, {false, ""}})});
  EXPECT_DOUBLE_EQ(metrics.at("pass_at_1"), 0.5);
  EXPECT_DOUBLE_EQ(metrics.at("pass_at_2"), 2.0 / 3.0);
  // Problem means 1, 0.5, 0: deviation 0.5, standard error 0.5 / sqrt(3).
  EXPECT_NEAR(metrics.at("pass_at_1_ci_low"), 0.0, 1e-12);
  EXPECT_NEAR(metrics.at("pass_at_1_ci_high"), 1.0, 1e-12);
}

TEST(AccuracyMetricsTest, TheIntervalIsTheNormalOneOverProblems) {
  std::vector<ProblemSamples> problems(100, Samples({{true, "1"}}));
  for (int i = 0; i < 50; ++i) problems[i].samples[0].solved = false;
  const auto metrics = AccuracyMetrics(problems);
  const double standard_error = std::sqrt(100 * 0.25 / 99 / 100);
  EXPECT_NEAR(metrics.at("pass_at_1_ci_low"), 0.5 - 1.96 * standard_error, 1e-12);
  EXPECT_NEAR(metrics.at("pass_at_1_ci_high"), 0.5 + 1.96 * standard_error, 1e-12);
}

TEST(AccuracyMetricsTest, TheMajorityVoteIgnoresEmptyAnswersAndBreaksTiesByOrder) {
  EXPECT_DOUBLE_EQ(AccuracyMetrics({Samples({{false, ""}, {false, ""}, {true, "7"}})}).at("maj_at_3"), 1);
  EXPECT_DOUBLE_EQ(AccuracyMetrics({Samples({{false, "2"}, {true, "7"}})}).at("maj_at_2"), 0);
  EXPECT_DOUBLE_EQ(AccuracyMetrics({Samples({{false, "2"}, {true, "7"}, {true, "7"}})}).at("maj_at_3"), 1);
  EXPECT_DOUBLE_EQ(AccuracyMetrics({Samples({{false, ""}, {false, ""}})}).at("maj_at_2"), 0);
}

TEST(AccuracyMetricsTest, NothingIsSaidOfNoProblems) {
  EXPECT_TRUE(AccuracyMetrics({}).empty());
}

}  // namespace
}  // namespace grpo
