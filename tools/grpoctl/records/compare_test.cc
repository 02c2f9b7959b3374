#include "tools/grpoctl/records/compare.h"

#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"

namespace grpo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

RunSummary RunOf(double pass_at_1, double seconds) {
  RunSummary run;
  StageReport learn{.name = "learn", .type = "train", .seconds = seconds, .tokens = 1000, .policy = "model"};
  learn.metrics = {{"loss", 0.5}};
  StageReport measure{.name = "measure", .type = "evaluate", .seconds = 2, .weights_from = "learn", .policy = "model"};
  measure.metrics = {{"pass_at_1", pass_at_1},
                     {"pass_at_1_ci_low", pass_at_1 - 0.03},
                     {"pass_at_1_ci_high", pass_at_1 + 0.04},
                     {"weight_bytes", 2048}};
  run.stages = {learn, measure};
  return run;
}

TEST(CompareRunsTest, SetsStagesOfTheSameNameAndPolicySideBySide) {
  RunSummary a = RunOf(0.5, 10), b = RunOf(0.6, 12.5);
  a.stages.push_back({.name = "extra", .type = "train", .policy = "model"});
  b.stages.push_back({.name = "extra", .type = "train", .policy = "other"});
  const RunComparison comparison = CompareRuns(a, b);
  EXPECT_EQ(
      ComparisonText(comparison, "runs/a", "runs/b\x1b[31m"),
      "A: runs/a\n"
      "B: runs/b\\x1b[31m\n"
      "\n"
      "stage    policy  figure          A                      B                      B - A\n"
      "learn    model   seconds                            10                   12.5                          +2.5\n"
      "                 tokens                          1,000                  1,000                             0\n"
      "measure  model   pass@1          50.0 % (47.0 to 54.0)  60.0 % (57.0 to 64.0)  +10.0 points (+5.0 to +15.0)\n"
      "                 weight bytes                  2.0 KiB                2.0 KiB                             0\n"
      "                 seconds                             2                      2                             0\n"
      "                 making seconds                     10                   12.5                          +2.5\n"
      "                 making tokens                   1,000                  1,000                             0\n"
      "\n"
      "In parentheses: 95 % confidence interval; that of a difference is too wide where both measured the same "
      "problems.\n"
      "\n"
      "Only in A: extra (model)\n"
      "\n"
      "Only in B: extra (other)\n");
}

TEST(CompareRunsTest, WhatOneRunLacksHasNoDifference) {
  RunSummary a = RunOf(0.5, 10), b = RunOf(0.5, 10);
  b.stages[1].metrics.erase("weight_bytes");
  const RunComparison comparison = CompareRuns(a, b);
  int num_lacking = 0;
  for (const ComparedFigure& figure : comparison.figures) num_lacking += figure.difference ? 0 : 1;
  EXPECT_EQ(num_lacking, 1);
  EXPECT_THAT(ComparisonText(CompareRuns(a, RunSummary()), "a", "b"), HasSubstr("No stage is finished in both."));
}

TEST(CompareRunsTest, ProgramsGetNumbers) {
  const nlohmann::json read = nlohmann::json::parse(ComparisonJson(CompareRuns(RunOf(0.5, 10), RunOf(0.6, 12.5))));
  const nlohmann::json& figure = read.at("figures").at(2);
  EXPECT_EQ(figure.at("stage"), "measure");
  EXPECT_EQ(figure.at("policy"), "model");
  EXPECT_EQ(figure.at("metric"), "pass_at_1");
  EXPECT_EQ(figure.at("a"), 0.5);
  EXPECT_EQ(figure.at("b"), 0.6);
  EXPECT_NEAR(figure.at("difference").get<double>(), 0.1, 1e-12);
  EXPECT_NEAR(figure.at("low").get<double>(), 0.05, 1e-12);
  EXPECT_NEAR(figure.at("high").get<double>(), 0.15, 1e-12);
  EXPECT_FALSE(read.at("figures").at(0).contains("low"));
  EXPECT_TRUE(read.at("only_a").empty());
}

}  // namespace
}  // namespace grpo
