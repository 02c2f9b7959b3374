// A train stage on models that pretend to learn: what is shown, kept and saved around the step.
#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/files.h"
#include "common/status_testing.h"
#include "nlohmann/json.hpp"
#include "trainer/stage/testing.h"

namespace grpo {
namespace {

constexpr char kSampled[] =
    "algorithm: grpo, policy: model, data: problems, rewards: rules, steps: 5, prompts_per_step: 3, group_size: 2";

class TrainStageTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::remove_all(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  absl::StatusOr<LoadedConfig> Load(const std::string& keys, const std::vector<std::string>& overrides = {}) {
    return LoadTestConfig(folder_ + "/config", absl::StrCat("  - {name: s, type: train, ", keys, "}\n"), overrides);
  }
  std::vector<nlohmann::json> Records() {
    std::vector<nlohmann::json> records;
    for (const absl::string_view line :
         absl::StrSplit(ReadFile(folder_ + "/run/metrics.jsonl").value(), '\n', absl::SkipEmpty()))
      records.push_back(nlohmann::json::parse(line));
    return records;
  }

  const std::string folder_ = ::testing::TempDir() + "/train_test";
};

TEST_F(TrainStageTest, EachStepHasALineWithItsHashes) {
  ASSERT_OK_AND_ASSIGN(const LoadedConfig loaded, Load(kSampled));
  StageRun run(loaded, folder_ + "/run");
  ASSERT_OK_AND_ASSIGN(const StageReport report, run.Start());
  const std::vector<nlohmann::json> records = Records();
  ASSERT_EQ(records.size(), 5u);
  for (size_t i = 0; i < records.size(); ++i) {
    EXPECT_EQ(records[i].at("step"), i + 1);
    EXPECT_FALSE(records[i].at("token_ids_hash").get<std::string>().empty());
    EXPECT_FALSE(records[i].at("weights_hash").get<std::string>().empty());
  }
  EXPECT_EQ(report.saved_steps, 5);
  EXPECT_EQ(report.policy_number, 5);
}

TEST_F(TrainStageTest, EveryStepsTokensAreCountedAlsoThoseThatAKillUndid) {
  ASSERT_OK_AND_ASSIGN(const LoadedConfig loaded, Load(kSampled));
  StageRun run(loaded, folder_ + "/run");
  ASSERT_OK(run.Start());
  double num_tokens = 0;
  for (const nlohmann::json& record : Records()) num_tokens += record.at("num_tokens").get<double>();
  EXPECT_GT(num_tokens, 0);
  EXPECT_EQ(run.spent().tokens, num_tokens);
  EXPECT_EQ(run.spent().starts, 1);
  // The other run is killed after some steps, of which its checkpoint holds fewer.
  StageRun killed(loaded, folder_ + "/killed");
  EXPECT_STATUS(killed.Start(/*kill_at_poll=*/4), absl::StatusCode::kAborted, "killed");
  ASSERT_OK(killed.Start());
  EXPECT_EQ(killed.spent().starts, 2);
  EXPECT_GE(killed.spent().tokens, num_tokens);
}

TEST_F(TrainStageTest, TheReportHoldsTheLargestLogprobDifferenceOfAllSteps) {
  ASSERT_OK_AND_ASSIGN(const LoadedConfig loaded, Load(kSampled));
  StageRun run(loaded, folder_ + "/run");
  ASSERT_OK_AND_ASSIGN(const StageReport report, run.Start());
  double largest = 0;
  for (const nlohmann::json& record : Records())
    largest = std::max(largest, record.at("logprob_abs_diff_max").get<double>());
  EXPECT_EQ(report.metrics.at("logprob_abs_diff_max"), largest);
}

TEST_F(TrainStageTest, AQuarantinedGroupIsCountedInItsStep) {
  ASSERT_OK_AND_ASSIGN(const LoadedConfig loaded, Load(kSampled));
  StageRun run(loaded, folder_ + "/run");
  run.Quarantine(4);
  ASSERT_OK(run.Start());
  const std::vector<nlohmann::json> records = Records();
  EXPECT_FALSE(records[0].contains("num_quarantined_groups"));
  EXPECT_EQ(records[1].at("num_quarantined_groups"), 1);
}

TEST_F(TrainStageTest, ChecksItsDataAgainstTheAlgorithm) {
  ASSERT_OK_AND_ASSIGN(const LoadedConfig documents,
                       Load("algorithm: pretrain, policy: model, data: problems, steps: 5"));
  EXPECT_STATUS(StageRun(documents, folder_ + "/run").Start(), absl::StatusCode::kInvalidArgument,
                "data.problems holds problems, and algorithm pretrain reads documents");
  ASSERT_OK_AND_ASSIGN(const LoadedConfig traces, Load("algorithm: sft, policy: model, data: problems, steps: 5"));
  EXPECT_STATUS(StageRun(traces, folder_ + "/run").Start(), absl::StatusCode::kInvalidArgument,
                "has no completion to learn from");
}

TEST_F(TrainStageTest, AWarmUpBesideTheRiseOfOneCycleIsRefused) {
  const std::string one_cycle = "stages.s.optimizer.schedule=one_cycle";
  EXPECT_OK(Load(kSampled, {one_cycle}));
  EXPECT_OK(Load(kSampled, {"stages.s.optimizer.schedule=cosine", "stages.s.optimizer.warmup_steps=3"}));
  EXPECT_STATUS(Load(kSampled, {one_cycle, "stages.s.optimizer.warmup_steps=3"}), absl::StatusCode::kInvalidArgument,
                "stages.0.optimizer.warmup_steps: is 3, and the schedule one_cycle rises by itself; set it to 0");
}

TEST_F(TrainStageTest, SaysWhatItCostsByItsPlan) {
  ASSERT_OK_AND_ASSIGN(const LoadedConfig sampled, Load(kSampled));
  const StageCost cost = sampled.config.stages[0].stage->cost();
  EXPECT_EQ(cost.batch, "3 prompts x 2 = 6 completions a step, 1 updates each");
  EXPECT_EQ(cost.steps, 5);
  EXPECT_EQ(cost.completions, 30);
  EXPECT_EQ(cost.tokens, 30 * 512);
  ASSERT_OK_AND_ASSIGN(const LoadedConfig rows,
                       Load("algorithm: pretrain, policy: model, data: corpus, steps: 5, rows_per_step: 16, "
                            "row_tokens: 64"));
  EXPECT_EQ(rows.config.stages[0].stage->cost().batch, "16 rows x 64 tokens = 1,024 tokens a step");
  EXPECT_EQ(rows.config.stages[0].stage->cost().completions, std::nullopt);
  EXPECT_EQ(rows.config.stages[0].stage->cost().tokens, 5 * 1024);
  ASSERT_OK_AND_ASSIGN(const LoadedConfig traces,
                       Load("algorithm: sft, policy: model, data: traces, steps: 5, traces_per_step: 2"));
  EXPECT_EQ(traces.config.stages[0].stage->cost().batch, "2 traces a step");
}

// The run went on through all its stages, and said at the end that training had diverged.
TEST_F(TrainStageTest, ARunWhoseUpdatesAreAllSkippedPauses) {
  ASSERT_OK_AND_ASSIGN(const LoadedConfig loaded, Load(kSampled, {"trainer.max_skipped_steps=3"}));
  StageRun run(loaded, folder_ + "/run");
  run.SkipUpdatesFrom(2);
  ASSERT_OK(run.Start());
  EXPECT_NE(run.pause_reason().find("stage s: every update of the last 3 steps was skipped"), std::string::npos)
      << run.pause_reason();
  // Two of five are not enough.
  StageRun fewer(loaded, folder_ + "/fewer");
  fewer.SkipUpdatesFrom(3);
  ASSERT_OK(fewer.Start());
  EXPECT_EQ(fewer.pause_reason(), "");
}

TEST_F(TrainStageTest, AStageShorterThanThatPausesWhenAllItsUpdatesAreSkippedUnlessToldNeverTo) {
  for (const auto& [override_text, pauses] :
       {std::pair<std::string, bool>{"trainer.max_skipped_steps=100", true}, {"trainer.max_skipped_steps=0", false}}) {
    ASSERT_OK_AND_ASSIGN(const LoadedConfig loaded, Load(kSampled, {override_text}));
    StageRun run(loaded, folder_ + "/" + override_text);
    run.SkipUpdatesFrom(0);
    ASSERT_OK(run.Start());
    EXPECT_EQ(!run.pause_reason().empty(), pauses) << run.pause_reason();
  }
}

}  // namespace
}  // namespace grpo
