#include "trainer/stage/report.h"

#include <limits>

#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"

namespace grpo {
namespace {

using nlohmann::json;

StageReport Whole() {
  return {.name = "write",
          .type = "synthesize",
          .seconds = 2.5,
          .starts = 2,
          .tokens = 1200,
          .usd = 0.5,
          .weights_from = "tune",
          .learned_from = {"rewrite"},
          .taught_by = {"judge"},
          .teachers = {"large"},
          .policy = "teacher",
          .policy_number = 120,
          .steps = 64,
          .conditions = "64 problems",
          .metrics = {{"num_traces", 30}},
          .exported_to = "/runs/x/traces.jsonl",
          .artifact = "traces",
          .artifact_sha256 = "ab",
          .data_artifact = "problems"};
}

// The keys of summary.json and of checkpoints, which scripts and other versions read.
TEST(StageReportTest, WritesTheKeysOfSummaryJson) {
  EXPECT_EQ(ToJson(Whole()), json::parse(R"({"name": "write", "type": "synthesize", "seconds": 2.5, "policy": "teacher",
      "spent": {"starts": 2, "tokens": 1200.0, "usd": 0.5}, "weights_from": "tune", "learned_from": ["rewrite"],
      "taught_by": ["judge"], "teachers": ["large"], "conditions": "64 problems",
      "policy_number": 120, "steps": 64, "metrics": {"num_traces": 30.0}, "exported_to": "/runs/x/traces.jsonl",
      "artifact": "traces", "artifact_sha256": "ab", "data_artifact": "problems"})"));
  EXPECT_EQ(ToJson(StageReport{.name = "learn", .type = "train"}),
            json::parse(R"({"name": "learn", "type": "train", "seconds": 0.0, "policy": "", "policy_number": 0,
                            "steps": 0, "metrics": {}})"));
}

// As Whole is of no round, and has run.
TEST(StageReportTest, SaysOfWhichRoundAStageWasAndWhyItWasLeftOut) {
  const StageReport report{
      .name = "r.3.m", .type = "evaluate", .repeat = "r", .round = 3, .left_out = "no gain in round 2"};
  const json entry = ToJson(report);
  EXPECT_EQ(entry.at("repeat"), "r");
  EXPECT_EQ(entry.at("round"), 3);
  EXPECT_EQ(entry.at("left_out"), "no gain in round 2");
  EXPECT_FALSE(ToJson(Whole()).contains("round"));
}

TEST(StageReportTest, ReadsBackWhatItWrote) {
  std::vector<StageReport> reports = {Whole(), StageReport{.name = "b", .repeat = "r", .round = 2, .left_out = "why"}};
  reports[1].metrics["loss"] = std::numeric_limits<double>::quiet_NaN();
  const std::string text = ToJson(reports).dump();
  ASSERT_OK_AND_ASSIGN(const auto read, StageReportsFromJson(json::parse(text), "state.json"));
  EXPECT_EQ(ToJson(read).dump(), text);
}

TEST(StageReportTest, TakesWhatOtherVersionsWrote) {
  ASSERT_OK_AND_ASSIGN(const auto read,
                       StageReportsFromJson(json::parse(R"([{"name": "x", "seconds": "long", "spent": 7,
      "learned_from": [1, "w"], "taught_by": "t", "metrics": {"a": 1, "b": "text"}, "of_the_future": []}, {}])"),
                                            "summary.json"));
  ASSERT_EQ(read.size(), 2u);
  EXPECT_EQ(read[0].name, "x");
  EXPECT_EQ(read[0].seconds, 0);
  EXPECT_EQ(read[0].starts, 0);
  EXPECT_THAT(read[0].learned_from, ::testing::ElementsAre("w"));
  EXPECT_TRUE(read[0].taught_by.empty());
  EXPECT_THAT(read[0].metrics, ::testing::ElementsAre(::testing::Pair("a", 1)));
}

TEST(StageReportTest, RefusesWhatIsNoListOfReports) {
  EXPECT_STATUS(StageReportsFromJson(json::parse("{}"), "state.json"), absl::StatusCode::kDataLoss,
                "state.json holds no list of stages");
  EXPECT_STATUS(StageReportsFromJson(json::parse("[1]"), "state.json"), absl::StatusCode::kDataLoss, "no object");
}

TEST(StageReportTest, ShowsAStageThatIsDone) {
  StageReport report = Whole();
  report.metrics["broken"] = std::numeric_limits<double>::infinity();
  v1::StageStatus status;
  ShowReport(report, &status);
  EXPECT_EQ(status.state(), v1::STAGE_STATE_DONE);
  EXPECT_EQ(status.step(), 64);
  EXPECT_EQ(status.num_steps(), 64);
  EXPECT_EQ(status.seconds(), 2.5);
  ASSERT_EQ(status.metrics_size(), 1);
  EXPECT_EQ(status.metrics().at("num_traces"), 30);
}

}  // namespace
}  // namespace grpo
