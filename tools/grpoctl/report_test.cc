#include "tools/grpoctl/report.h"

#include <filesystem>

#include "common/files.h"
#include "common/status_testing.h"

namespace grpo {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kSummary[] = R"({"run": {"name": "quickstart"}, "stages": [
  {"name": "pretrain", "type": "train", "policy": "base", "seconds": 133.25, "metrics": {"loss": 1.5}},
  {"name": "evaluate_base", "type": "evaluate", "policy": "base", "seconds": 3,
   "metrics": {"pass_at_1": 0.038, "pass_at_1_ci_low": 0.02, "pass_at_1_ci_high": 0.056, "mean_completion_tokens": 14.12,
               "outcomes/scored": 1, "reward": 0.1}},
  {"name": "evaluate_rl", "type": "evaluate", "policy": "r1_zero", "seconds": 4,
   "metrics": {"pass_at_1": 0.937, "format_rate": 0.99, "mean_completion_tokens": 30.4, "reward": 1.03}}]})";

TEST(ParseSummaryTest, ReadsStages) {
  ASSERT_OK_AND_ASSIGN(const std::vector<StageSummary> stages, ParseSummary(kSummary));
  ASSERT_EQ(stages.size(), 3u);
  EXPECT_EQ(stages[0].seconds, 133.25);
  EXPECT_EQ(stages[1].policy, "base");
  EXPECT_EQ(stages[2].metrics.at("pass_at_1"), 0.937);
}

TEST(ParseSummaryTest, RefusesWhatIsNoSummary) {
  EXPECT_STATUS(ParseSummary("{"), absl::StatusCode::kDataLoss, "stages");
  EXPECT_STATUS(ParseSummary("{\"stages\": {}}"), absl::StatusCode::kDataLoss, "stages");
  EXPECT_STATUS(ParseSummary("{\"stages\": [1]}"), absl::StatusCode::kDataLoss, "no object");
}

TEST(EvaluationTableTest, PutsPoliciesSideBySideWithTheLeadingMetricsFirst) {
  ASSERT_OK_AND_ASSIGN(const std::vector<StageSummary> stages, ParseSummary(kSummary));
  EXPECT_EQ(EvaluationTable(stages),
            "metric                  base                r1_zero\n"
            "pass@1                  3.8 % (2.0 to 5.6)   93.7 %\n"
            "format rate                                  99.0 %\n"
            "mean completion tokens               14.12     30.4\n"
            "reward                                 0.1     1.03\n");
}

TEST(EvaluationTableTest, NamesTheStageWhereAPolicyWasMeasuredTwice) {
  ASSERT_OK_AND_ASSIGN(std::vector<StageSummary> stages, ParseSummary(kSummary));
  stages[2].policy = "base";
  EXPECT_THAT(EvaluationTable(stages), HasSubstr("evaluate_base"));
  EXPECT_THAT(EvaluationTable(stages), HasSubstr("evaluate_rl"));
}

TEST(EvaluationTableTest, IsEmptyWithoutEvaluations) {
  EXPECT_EQ(EvaluationTable({StageSummary()}), "");
}

class RunReportTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK(MakeFolders(dir_ + "/completions"));
    ASSERT_OK(MakeFolders(dir_ + "/models/rl"));
    ASSERT_OK(WriteFileAtomically(dir_ + "/summary.json", kSummary));
    ASSERT_OK(WriteFileAtomically(
        dir_ + "/completions/evaluate_rl.jsonl",
        "{\"prompt\":\"Q:H35 L94\",\"completion\":\"<answer>\\u001b[31m12</answer>\",\"answer\":\"12\",\"value\":1.1}\n"
        "not json\n"
        "{\"prompt\":\"Q:H35 L94\",\"completion\":\"again\",\"answer\":\"12\",\"value\":0}\n"
        "{\"prompt\":\"Q:H4 L10\",\"completion\":\"1\",\"answer\":\"1\",\"value\":0}\n"
        "{\"prompt\":\"Q:H5 L10\",\"completion\":\"third\",\"answer\":\"1\",\"value\":0}\n"));
  }
  const std::string dir_ = ::testing::TempDir() + "/report";
};

TEST_F(RunReportTest, SamplesDifferentPromptsAndEscapesThem) {
  EXPECT_EQ(SampleCompletions(dir_, "evaluate_rl", 2),
            "  Q:H35 L94\n    <answer>\\x1b[31m12</answer>\n    reward 1.1, reference answer 12\n"
            "  Q:H4 L10\n    1\n    reward 0, reference answer 1\n");
  EXPECT_EQ(SampleCompletions(dir_, "evaluate_base", 2), "");
}

TEST_F(RunReportTest, TellsTableSamplesSecondsAndPlaces) {
  ASSERT_OK_AND_ASSIGN(const std::string report, RunReport(dir_, {"models/rl", "models/none"}));
  EXPECT_THAT(report, HasSubstr("93.7 %"));
  EXPECT_THAT(report, HasSubstr("Completions of r1_zero:\n"));
  EXPECT_THAT(report, Not(HasSubstr("Completions of base")));
  EXPECT_THAT(report, HasSubstr("140.2"));  // 133.25 + 3 + 4 seconds, a tie rounded to even
  EXPECT_THAT(report, HasSubstr(dir_ + "/summary.json"));
  EXPECT_THAT(report, Not(HasSubstr(dir_ + "/metrics.jsonl")));
  EXPECT_THAT(report, HasSubstr(dir_ + "/models/rl"));
  EXPECT_THAT(report, Not(HasSubstr("models/none")));
}

TEST_F(RunReportTest, SaysWhichFileIsMissing) {
  EXPECT_STATUS(RunReport(dir_ + "/nowhere", {}), absl::StatusCode::kNotFound, "nowhere/summary.json");
}

}  // namespace
}  // namespace grpo
