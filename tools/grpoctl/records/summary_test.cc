#include "tools/grpoctl/records/summary.h"

#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "tools/grpoctl/text.h"

namespace grpo {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kSummary[] = R"({"run": {"name": "quickstart", "id": "q-1", "seed": 7}, "stages": [
  {"name": "pretrain", "type": "train", "policy": "base", "seconds": 133.25, "metrics": {"loss": 1.5}},
  {"name": "evaluate_base", "type": "evaluate", "policy": "base", "seconds": 3,
   "metrics": {"pass_at_1": 0.038, "pass_at_1_ci_low": 0.02, "pass_at_1_ci_high": 0.056, "mean_completion_tokens": 14.12,
               "outcomes/scored": 1, "reward": 0.1}},
  {"name": "evaluate_rl", "type": "evaluate", "policy": "r1_zero", "seconds": 4,
   "metrics": {"pass_at_1": 0.937, "format_rate": 0.99, "mean_completion_tokens": 30.4, "reward": 1.03}}]})";

TableRows OnlyTable(const std::vector<StageReport>& stages) {
  const std::vector<SummaryTable> tables = SummaryTables(stages);
  EXPECT_EQ(tables.size(), 1u);
  return tables.empty() ? TableRows() : tables[0].rows;
}

TEST(ParseSummaryTest, ReadsStages) {
  ASSERT_OK_AND_ASSIGN(const RunSummary summary, ParseSummary(kSummary));
  EXPECT_EQ(summary.name, "quickstart");
  EXPECT_EQ(summary.id, "q-1");
  EXPECT_EQ(summary.seed, 7);
  const std::vector<StageReport>& stages = summary.stages;
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

TEST(SummaryTablesTest, PutsPoliciesSideBySideWithTheLeadingMetricsFirst) {
  ASSERT_OK_AND_ASSIGN(const RunSummary summary, ParseSummary(kSummary));
  EXPECT_EQ(FormatTable(OnlyTable(summary.stages)),
            "metric                  base                r1_zero\n"
            "pass@1                  3.8 % (2.0 to 5.6)   93.7 %\n"
            "format rate                                  99.0 %\n"
            "mean completion tokens               14.12     30.4\n"
            "reward                                 0.1     1.03\n");
}

TEST(SummaryTablesTest, NamesTheStageWhereAPolicyWasMeasuredTwice) {
  ASSERT_OK_AND_ASSIGN(RunSummary summary, ParseSummary(kSummary));
  summary.stages[2].policy = "base";
  EXPECT_THAT(FormatTable(OnlyTable(summary.stages)), HasSubstr("evaluate_base"));
  EXPECT_THAT(FormatTable(OnlyTable(summary.stages)), HasSubstr("evaluate_rl"));
}

TEST(SummaryTablesTest, IsEmptyWithoutEvaluations) {
  EXPECT_TRUE(SummaryTables({StageReport()}).empty());
}

TEST(SummaryTablesTest, ExcludedSamplesHaveARowOnlyAsAShareThatMatters) {
  ASSERT_OK_AND_ASSIGN(RunSummary summary, ParseSummary(kSummary));
  summary.stages[1].metrics["num_excluded_samples"] = 3;
  EXPECT_THAT(FormatTable(OnlyTable(summary.stages)), Not(HasSubstr("excluded")));
  summary.stages[1].metrics["excluded_samples_rate"] = 0.025;
  EXPECT_THAT(FormatTable(OnlyTable(summary.stages)), HasSubstr("excluded samples rate                2.5 %"));
}

TEST(SummaryTablesTest, WhatBecameOfSynthesizedCompletionsHasATableOfItsOwn) {
  StageReport write{.name = "write", .type = "synthesize", .policy = "base"};
  write.metrics = {{"num_traces", 30}, {"rejected/wrong", 2}};
  EXPECT_EQ(FormatTable(OnlyTable({write})),
            "traces           write\n"
            "num traces          30\n"
            "rejected: wrong      2\n");
}

// The quickstart in small: what a teacher wrote, a student learns.
std::vector<StageReport> TaughtRun() {
  const StageReport pretrain{.name = "pretrain", .type = "train", .seconds = 50, .tokens = 5000, .policy = "base"};
  const StageReport rl{
      .name = "rl", .type = "train", .seconds = 30, .tokens = 900, .weights_from = "pretrain", .policy = "teacher"};
  StageReport measure_teacher{.name = "measure_teacher",
                              .type = "evaluate",
                              .weights_from = "rl",
                              .policy = "teacher",
                              .conditions = "8 problems"};
  measure_teacher.metrics = {{"pass_at_1", 0.96},
                             {"pass_at_1_ci_low", 0.94},
                             {"pass_at_1_ci_high", 0.98},
                             {"num_parameters", 164480},
                             {"weight_bytes", 657920},
                             {"tokens_per_second", 9000},
                             {"maj_at_8", 1},
                             {"worker_peak_memory_bytes", 3e8}};
  const StageReport write{.name = "write",
                          .type = "synthesize",
                          .seconds = 20,
                          .starts = 2,
                          .tokens = 400,
                          .usd = 0.5,
                          .weights_from = "rl",
                          .policy = "teacher",
                          .artifact = "traces"};
  const StageReport copy{
      .name = "copy", .type = "train", .seconds = 10, .tokens = 700, .learned_from = {"write"}, .policy = "student"};
  StageReport measure{
      .name = "measure", .type = "evaluate", .weights_from = "copy", .policy = "student", .conditions = "8 problems"};
  measure.metrics = {{"pass_at_1", 0.888},
                     {"num_parameters", 28832},
                     {"weight_bytes", 115328},
                     {"maj_at_8", 0.9375},
                     {"tokens_per_second", 27900}};
  return {pretrain, rl, measure_teacher, write, copy, measure};
}

TEST(SummaryTablesTest, TheBillStandsBelowWhatThePoliciesCanDo) {
  const std::vector<SummaryTable> tables = SummaryTables(TaughtRun());
  ASSERT_EQ(tables.size(), 1u);
  EXPECT_EQ(FormatTable(tables[0].rows),
            "metric                    teacher                student\n"
            "pass@1                    96.0 % (94.0 to 98.0)     88.8 %\n"
            "maj@8                                   100.0 %     93.8 %\n"
            "num parameters                          164,480     28,832\n"
            "weight bytes                          642.5 KiB  112.6 KiB\n"
            "worker peak memory bytes              286.1 MiB\n"
            "tokens per second                         9,000     27,900\n"
            "seconds to make it                         80.0       30.0\n"
            "with its teachers                          80.0      110.0\n"
            "tokens to make it                         5,900      1,100\n"
            "USD to make it                                        0.50\n");
  EXPECT_THAT(tables[0].notes,
              ::testing::ElementsAre("student to its teacher teacher: 1/5.7 of the parameters, 1/5.7 of the bytes of "
                                     "weights, 3.1 times the tokens/s, 92.5 % of pass@1.",
                                     "Stage write was worked on in 2 starts of the run: its seconds and tokens are "
                                     "those of all of them, with what was done again."));
}

StageReport OfRound(int64_t round, const std::string& stage, const std::string& type,
                    std::map<std::string, double> metrics) {
  return {.name = "r." + std::to_string(round) + "." + stage,
          .type = type,
          .repeat = "r",
          .round = round,
          .seconds = 1.5,
          .policy = "p",
          .metrics = std::move(metrics)};
}

TEST(SummaryTablesTest, EachRoundHasItsRow) {
  std::vector<StageReport> stages = {
      OfRound(1, "solve", "synthesize", {{"num_traces", 30}}), OfRound(1, "measure", "evaluate", {{"pass_at_1", 0.25}}),
      OfRound(2, "solve", "synthesize", {{"num_traces", 40}}), OfRound(2, "measure", "evaluate", {{"pass_at_1", 0.5}})};
  EXPECT_EQ(FormatTable(SummaryTables(stages).back().rows),
            "round  solve: num traces  measure: pass@1  seconds\n"
            "1                     30           25.0 %      3.0\n"
            "2                     40           50.0 %      3.0\n");
  EXPECT_EQ(SummaryTables(stages).back().title, "Rounds of r");
  stages.push_back(OfRound(3, "measure", "evaluate", {}));
  stages.back().left_out = "no gain";
  stages.back().seconds = 0;
  const TableRows rows = SummaryTables(stages).back().rows;
  EXPECT_EQ(rows.at(3), (std::vector<std::string>{"3", "", "", "", "no gain"}));
  // Nothing was measured there.
  for (const SummaryTable& table : SummaryTables(stages)) {
    if (table.type == "evaluate") {
      EXPECT_EQ(table.rows.at(0).size(), 3u);
    }
  }
  EXPECT_EQ(StageSecondsRows(stages).at(5), (std::vector<std::string>{"r.3.measure", "evaluate", "left out"}));
}

}  // namespace
}  // namespace grpo
