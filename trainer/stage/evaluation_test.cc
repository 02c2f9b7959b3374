#include "trainer/stage/evaluation.h"

#include <cmath>

#include "gmock/gmock.h"
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
      {Samples({{true, "1"}, {true, "1"}}), Samples({{false, "2"}, {true, "3"}}), Samples({{false, ""}, {false, ""}})},
      2);
  EXPECT_DOUBLE_EQ(metrics.at("pass_at_1"), 0.5);
  EXPECT_DOUBLE_EQ(metrics.at("pass_at_2"), 2.0 / 3.0);
  // Problem means 1, 0.5, 0: deviation 0.5, standard error 0.5 / sqrt(3).
  EXPECT_NEAR(metrics.at("pass_at_1_ci_low"), 0.0, 1e-12);
  EXPECT_NEAR(metrics.at("pass_at_1_ci_high"), 1.0, 1e-12);
}

TEST(AccuracyMetricsTest, TheIntervalIsTheNormalOneOverProblems) {
  std::vector<ProblemSamples> problems(100, Samples({{true, "1"}}));
  for (int i = 0; i < 50; ++i) problems[i].samples[0].solved = false;
  const auto metrics = AccuracyMetrics(problems, 1);
  const double standard_error = std::sqrt(100 * 0.25 / 99 / 100);
  EXPECT_NEAR(metrics.at("pass_at_1_ci_low"), 0.5 - 1.96 * standard_error, 1e-12);
  EXPECT_NEAR(metrics.at("pass_at_1_ci_high"), 0.5 + 1.96 * standard_error, 1e-12);
}

TEST(AccuracyMetricsTest, TheMajorityVoteIgnoresEmptyAnswersAndBreaksTiesByOrder) {
  EXPECT_DOUBLE_EQ(AccuracyMetrics({Samples({{false, ""}, {false, ""}, {true, "7"}})}, 3).at("maj_at_3"), 1);
  EXPECT_DOUBLE_EQ(AccuracyMetrics({Samples({{false, "2"}, {true, "7"}})}, 2).at("maj_at_2"), 0);
  EXPECT_DOUBLE_EQ(AccuracyMetrics({Samples({{false, "2"}, {true, "7"}, {true, "7"}})}, 3).at("maj_at_3"), 1);
  EXPECT_DOUBLE_EQ(AccuracyMetrics({Samples({{false, ""}, {false, ""}})}, 2).at("maj_at_2"), 0);
}

TEST(AccuracyMetricsTest, NothingIsSaidOfNoProblems) {
  EXPECT_TRUE(AccuracyMetrics({}, 8).empty());
}

// Of four samples each: one problem lost one to our failure, another lost all.
TEST(AccuracyMetricsTest, ProblemsCountAlikeByTheSamplesThatAreLeft) {
  const auto metrics = AccuracyMetrics({Samples({{true, "1"}, {false, "2"}, {true, "1"}}), Samples({}),
                                        Samples({{false, "3"}, {false, "3"}, {false, "4"}, {true, "5"}})},
                                       4);
  EXPECT_DOUBLE_EQ(metrics.at("pass_at_1"), (2.0 / 3 + 1.0 / 4) / 2);
  EXPECT_DOUBLE_EQ(metrics.at("pass_at_2"), (1.0 + (1 - 3.0 / 6)) / 2);
  // The first problem has no four samples.
  EXPECT_DOUBLE_EQ(metrics.at("pass_at_4"), 1);
  EXPECT_DOUBLE_EQ(metrics.at("maj_at_4"), 0.5);
}

TEST(AccuracyMetricsTest, PassAtKIsLeftOutWhereNoProblemHasKSamples) {
  const auto metrics = AccuracyMetrics({Samples({{true, "1"}})}, 2);
  EXPECT_DOUBLE_EQ(metrics.at("pass_at_1"), 1);
  EXPECT_EQ(metrics.count("pass_at_2"), 0u);
  EXPECT_TRUE(AccuracyMetrics({Samples({})}, 2).empty());
}

v1::ScoredCompletion Scored(int num_tokens, v1::FinishReason reason, double reward, double format) {
  v1::ScoredCompletion scored;
  for (int t = 0; t < num_tokens; ++t) scored.mutable_completion()->add_ids(1);
  scored.mutable_completion()->set_finish_reason(reason);
  scored.mutable_score()->set_outcome(v1::OUTCOME_SCORED);
  scored.mutable_score()->set_value(reward);
  v1::RuleScore& rule = *scored.mutable_score()->add_rules();
  rule.set_name("form");
  rule.set_value(format);
  return scored;
}

TEST(SampleSumsTest, ExcludedSamplesAreInNoMeanAndTheirOutcomesAreCounted) {
  ScoredGroup group;
  group.completions = {Scored(5, v1::FINISH_REASON_STOP, 1.5, 1), Scored(2, v1::FINISH_REASON_LENGTH, 0.5, 0),
                       Scored(100, v1::FINISH_REASON_LENGTH, 9, 9)};
  group.completions[2].mutable_score()->set_outcome(v1::OUTCOME_DEADLINE);
  group.completions[2].mutable_score()->set_excluded(true);
  SampleSums sums("form");
  sums.Add(group);
  // The end-of-sequence token is not counted.
  EXPECT_THAT(sums.Metrics(), ::testing::UnorderedElementsAre(
                                  ::testing::Pair("mean_completion_tokens", 3), ::testing::Pair("clipped_ratio", 0.5),
                                  ::testing::Pair("reward", 1), ::testing::Pair("rewards/form/mean", 0.5),
                                  ::testing::Pair("format_rate", 0.5), ::testing::Pair("outcomes/deadline", 1)));
}

TEST(SampleSumsTest, MeansOverNothingAreLeftOut) {
  EXPECT_TRUE(SampleSums("form").Metrics().empty());
  ScoredGroup group;
  group.completions = {Scored(5, v1::FINISH_REASON_STOP, 1, 1)};
  SampleSums other("another rule");
  other.Add(group);
  EXPECT_EQ(other.Metrics().count("format_rate"), 0u);
}

}  // namespace
}  // namespace grpo
