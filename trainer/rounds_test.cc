#include "trainer/rounds.h"

#include <limits>

#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using ::testing::HasSubstr;

RunConfig Config(double min_gain, int64_t times = 4) {
  RunConfig config;
  config.rounds["f"] = {.times = times, .until = {.stage = "m", .metric = "pass_at_1", .min_gain = min_gain}};
  config.rounds["whole"] = {.times = 12};
  return config;
}

// Reports of f.1.m, f.2.m, ...
std::vector<StageReport> Measured(const std::vector<double>& values) {
  std::vector<StageReport> reports;
  for (const double value : values) {
    StageReport& report = reports.emplace_back();
    report.name = RoundStageName("f", static_cast<int64_t>(reports.size()), "m");
    report.metrics["pass_at_1"] = value;
  }
  return reports;
}

TEST(RoundsTest, AStageOfARoundIsKnownByItsName) {
  const RunConfig config = Config(0);
  const auto place = RoundOf(config, RoundStageName("whole", 12, "a.b"));
  ASSERT_TRUE(place.has_value());
  EXPECT_EQ(place->repeat, "whole");
  EXPECT_EQ(place->round, 12);
  for (const char* stage :
       {"whole", "whole.", "whole.x.a", "whole.13.a", "whole.0.a", "whole.1", "other.1.a", "f2.1.a"})
    EXPECT_FALSE(RoundOf(config, stage).has_value()) << stage;
  StageReport report;
  Identify(config, "f.2.m", "evaluate", &report);
  EXPECT_EQ(report.name + report.type + report.repeat, "f.2.mevaluatef");
  EXPECT_EQ(report.round, 2);
  StageReport alone;
  Identify(config, "alone", "evaluate", &alone);
  EXPECT_EQ(alone.name + alone.repeat, "alone");
}

// The second round is the first that can be held against another.
TEST(RoundsTest, RoundsAreLeftOutBehindTheFirstThatGainedTooLittle) {
  const RunConfig config = Config(0.1);
  EXPECT_EQ(WhyLeftOut(config, "f.2.m", Measured({0.5})), "");
  EXPECT_EQ(WhyLeftOut(config, "f.3.m", Measured({0.5, 0.7})), "");
  EXPECT_THAT(WhyLeftOut(config, "f.3.a", Measured({0.5, 0.55})),
              HasSubstr("pass_at_1 of f.2.m is 0.55, 0.05 above the round before (0.5), and until.min_gain is 0.1"));
  // Of all later rounds, for the same reason.
  EXPECT_EQ(WhyLeftOut(config, "f.4.a", Measured({0.5, 0.55})), WhyLeftOut(config, "f.3.a", Measured({0.5, 0.55})));
  EXPECT_THAT(WhyLeftOut(config, "f.4.m", Measured({0.2, 0.4, 0.3})), HasSubstr("pass_at_1 of f.3.m is 0.3"));
}

TEST(RoundsTest, AGainOfExactlyMinGainIsEnough) {
  // 0.6 - 0.5 is less than 0.1 in binary.
  ASSERT_LT(0.6 - 0.5, 0.1);
  EXPECT_EQ(WhyLeftOut(Config(0.1), "f.3.m", Measured({0.5, 0.6})), "");
  EXPECT_EQ(WhyLeftOut(Config(0), "f.3.m", Measured({0.5, 0.5})), "");
  EXPECT_NE(WhyLeftOut(Config(0), "f.3.m", Measured({0.5, 0.49})), "");
}

TEST(RoundsTest, NothingIsLeftOutWithoutUntilOrWithoutTheMetric) {
  const RunConfig config = Config(0.1);
  EXPECT_EQ(WhyLeftOut(config, "whole.9.m", Measured({0.5, 0.5})), "");
  EXPECT_EQ(WhyLeftOut(config, "alone", Measured({0.5, 0.5})), "");
  EXPECT_EQ(WhyLeftOut(config, "f.3.m", Measured({0.5})), "");
  EXPECT_EQ(WhyLeftOut(config, "f.3.m", Measured({std::numeric_limits<double>::quiet_NaN(), 0.5})), "");
}

TEST(RoundsTest, AResolvedConfigurationNamesStagesThatAreThere) {
  RunConfig config = Config(0);
  ASSERT_EQ(RoundConflicts(config).size(), 1u);
  EXPECT_EQ(RoundConflicts(config)[0].key, "rounds.f.until.stage");
  EXPECT_THAT(RoundConflicts(config)[0].message, HasSubstr("there is no stage f.1.m"));
  config.stages.push_back({.name = "f.1.m"});
  EXPECT_TRUE(RoundConflicts(config).empty());
}

}  // namespace
}  // namespace grpo
