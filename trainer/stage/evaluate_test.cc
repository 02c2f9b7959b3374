// An evaluate stage with a worker that says what the test wants.
#include <cmath>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "common/status_testing.h"
#include "trainer/stage/judged.h"
#include "trainer/stage/testing.h"

namespace grpo {
namespace {

class EvaluateStageTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::remove_all(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // Ten problems of four samples, and the keys given.
  absl::StatusOr<LoadedConfig> Load(const std::string& keys = "", const std::vector<std::string>& overrides = {}) {
    return LoadTestConfig(folder_ + "/config",
                          absl::StrCat("  - {name: s, type: evaluate, policy: model, data: problems, rewards: rules, "
                                       "problems: 10, samples_per_problem: 4",
                                       keys, "}\n"),
                          overrides);
  }
  absl::StatusOr<StageReport> Run(const LoadedConfig& loaded, FakeJudge judge = nullptr) {
    StageRun run(loaded, folder_ + "/run");
    run.SetJudge(std::move(judge));
    return run.Start();
  }

  static void Solve(v1::ScoredCompletion* completion, bool solved) {
    completion->mutable_score()->mutable_rules(0)->set_value(solved);
  }
  static void Exclude(v1::ScoredCompletion* completion) {
    completion->mutable_score()->set_outcome(v1::OUTCOME_DEADLINE);
    completion->mutable_score()->set_excluded(true);
    // What a failed score says is worth nothing.
    completion->mutable_score()->set_value(1000);
    completion->mutable_score()->mutable_rules(0)->set_value(0);
    completion->mutable_score()->mutable_rules(1)->set_value(0);
  }

  const std::string folder_ = ::testing::TempDir() + "/evaluate_test";
};

TEST(ShowGroups, SaysHowLongItTookAndWhatIsLeftByTheGroupsOfThisStart) {
  Coordinator coordinator(CoordinatorOptions(), {.run_id = "run-a", .config_sha256 = "abc", .epoch = 1});
  v1::RunStatus status;
  status.add_stages();
  StatusBoard board(status, &coordinator);
  const std::map<std::string, double> metrics = {{"num_traces", 3}};
  ShowGroups({.step = 100, .first = 100, .num_steps = 400, .elapsed = absl::Seconds(1)}, metrics, &board);
  EXPECT_FALSE(board.Snapshot().has_stage_remaining_seconds()) << "of nothing nothing follows";
  ShowGroups({.step = 200, .first = 100, .num_steps = 400, .elapsed = absl::Seconds(30)}, metrics, &board);
  EXPECT_DOUBLE_EQ(board.Snapshot().stage_remaining_seconds(), 60);
  EXPECT_DOUBLE_EQ(board.Snapshot().stages(0).seconds(), 30);
  EXPECT_EQ(board.Snapshot().stages(0).step(), 200);
  EXPECT_EQ(board.Snapshot().stages(0).metrics().at("num_traces"), 3);
}

TEST_F(EvaluateStageTest, MeasuresSampledAndGreedyProblemsApart) {
  ASSERT_OK_AND_ASSIGN(const LoadedConfig loaded, Load());
  // Of each problem the first two samples are right, and so is every greedy one.
  ASSERT_OK_AND_ASSIGN(const StageReport report, Run(loaded, [](const v1::Lease& lease, v1::ScoredCompletion* sample) {
                         Solve(sample, lease.sampling().temperature() == 0 || sample->completion().index() < 2);
                       }));
  EXPECT_EQ(report.metrics.at("pass_at_1"), 0.5);
  EXPECT_EQ(report.metrics.at("pass_at_4"), 1);
  EXPECT_EQ(report.metrics.at("greedy_accuracy"), 1);
  EXPECT_EQ(report.metrics.at("num_problems"), 10);
  EXPECT_EQ(report.metrics.at("num_greedy_problems"), static_cast<double>(report.steps - 10));
  // Samples of 1 to 4 tokens, the end-of-sequence token not counted.
  EXPECT_EQ(report.metrics.at("mean_completion_tokens"), 1.5);
  EXPECT_EQ(report.metrics.count("num_excluded_samples"), 0u);
  EXPECT_EQ(report.metrics.count("excluded_samples_rate"), 0u);
}

TEST_F(EvaluateStageTest, SaysUnderWhichConditionsItMeasuredAndWhatThatTook) {
  ASSERT_OK_AND_ASSIGN(const LoadedConfig loaded, Load(", sampling: {temperature: 0.5, top_k: 3, max_new_tokens: 24}"));
  StageRun run(loaded, folder_ + "/run");
  ASSERT_OK_AND_ASSIGN(const StageReport report, run.Start());
  EXPECT_EQ(report.conditions,
            absl::StrCat("data problems, rewards rules, 10 problems x 4, temperature 0.5, at most 24 tokens, top_k 3, ",
                         report.steps - 10, " problems greedily"));
  EXPECT_GT(run.spent().tokens, 0);
  // A worker whose memory cannot be seen, and weights that are none, have no figure.
  EXPECT_EQ(report.metrics.count("worker_peak_memory_bytes"), 0u);
  EXPECT_EQ(report.metrics.count("weight_bytes"), 0u);
}

TEST_F(EvaluateStageTest, MeasuresAnEndpointByItsTextAndSaysWhatThatCost) {
  ASSERT_OK_AND_ASSIGN(const LoadedConfig loaded,
                       Load(", greedy: false", {"policies.far.endpoint.url=http://127.0.0.1:1/v1",
                                                "policies.far.endpoint.model=m", "stages.s.policy=far"}));
  ASSERT_OK_AND_ASSIGN(const StageReport report, Run(loaded, [](const v1::Lease&, v1::ScoredCompletion* sample) {
                         Solve(sample, sample->completion().index() == 0);
                       }));
  EXPECT_EQ(report.metrics.at("pass_at_1"), 0.25);
  EXPECT_EQ(report.metrics.at("endpoint/output_tokens"), 10 * 20);
  EXPECT_EQ(report.metrics.at("endpoint/usd"), 2.5);
  // What nobody knows is no number.
  for (const char* unknown : {"num_parameters", "mean_completion_tokens", "tokens_per_second"})
    EXPECT_EQ(report.metrics.count(unknown), 0u) << unknown;
}

// docs/design.md law 1: what we failed to score is no wrong answer.
TEST_F(EvaluateStageTest, ExcludedSamplesLeaveEveryMeanAndAreCounted) {
  ASSERT_OK_AND_ASSIGN(const LoadedConfig loaded, Load());
  ASSERT_OK_AND_ASSIGN(const StageReport report, Run(loaded, [](const v1::Lease& lease, v1::ScoredCompletion* sample) {
                         Solve(sample, true);
                         sample->mutable_score()->mutable_rules(1)->set_value(1);
                         sample->mutable_score()->set_value(2);
                         const int64_t group = lease.key().group_index();
                         // One sample of the first problem, all of the second, and the first greedy one.
                         if ((group == 0 && sample->completion().index() == 3) || group == 1 || group == 10)
                           Exclude(sample);
                       }));
  for (const char* name : {"pass_at_1", "pass_at_2", "pass_at_4", "maj_at_4", "greedy_accuracy", "format_rate",
                           "rewards/math_answer/mean", "rewards/format_tags/mean"})
    EXPECT_EQ(report.metrics.at(name), 1) << name;
  EXPECT_EQ(report.metrics.at("reward"), 2);
  // The longest sample of one problem is missing.
  EXPECT_DOUBLE_EQ(report.metrics.at("mean_completion_tokens"), (8 * 6 + 3) / 35.0);
  EXPECT_EQ(report.metrics.at("num_excluded_samples"), 6);
  EXPECT_EQ(report.metrics.at("outcomes/deadline"), 5);
  const double num_samples = static_cast<double>(40 + report.steps - 10);
  EXPECT_DOUBLE_EQ(report.metrics.at("excluded_samples_rate"), 6 / num_samples);
  EXPECT_EQ(report.metrics.at("num_greedy_problems"), static_cast<double>(report.steps - 11));
}

TEST_F(EvaluateStageTest, WhereEverySampleIsExcludedNoMeanIsWritten) {
  ASSERT_OK_AND_ASSIGN(const LoadedConfig loaded, Load());
  ASSERT_OK_AND_ASSIGN(const StageReport report,
                       Run(loaded, [](const v1::Lease&, v1::ScoredCompletion* sample) { Exclude(sample); }));
  for (const char* name : {"pass_at_1", "maj_at_4", "greedy_accuracy", "format_rate", "reward",
                           "mean_completion_tokens", "clipped_ratio", "pass_at_1_ci_low"})
    EXPECT_EQ(report.metrics.count(name), 0u) << name;
  EXPECT_EQ(report.metrics.at("excluded_samples_rate"), 1);
  for (const auto& [name, value] : report.metrics) EXPECT_TRUE(std::isfinite(value)) << name;
}

TEST_F(EvaluateStageTest, FewExcludedSamplesAreCountedAndHaveNoShare) {
  ASSERT_OK_AND_ASSIGN(const LoadedConfig loaded, Load("", {"stages.s.samples_per_problem=30"}));
  ASSERT_OK_AND_ASSIGN(const StageReport report, Run(loaded, [](const v1::Lease& lease, v1::ScoredCompletion* sample) {
                         if (lease.key().group_index() == 0 && sample->completion().index() == 0) Exclude(sample);
                       }));
  EXPECT_EQ(report.metrics.at("num_excluded_samples"), 1);
  EXPECT_EQ(report.metrics.count("excluded_samples_rate"), 0u);
}

TEST_F(EvaluateStageTest, FormatRateIsLeftOutWhereTheProfileLacksTheRule) {
  ASSERT_OK_AND_ASSIGN(const LoadedConfig loaded, Load("", {"rewards.rules.rules={math_answer: }"}));
  ASSERT_OK_AND_ASSIGN(const StageReport report, Run(loaded, [](const v1::Lease&, v1::ScoredCompletion* sample) {
                         sample->mutable_score()->mutable_rules()->RemoveLast();
                       }));
  EXPECT_EQ(report.metrics.count("format_rate"), 0u);
  EXPECT_EQ(report.metrics.count("pass_at_1"), 1u);
}

TEST_F(EvaluateStageTest, AMisspeltRuleIsAnErrorAndTheDefaultOneIsNot) {
  EXPECT_STATUS(Load("", {"stages.s.format_rule=format_tag"}), absl::StatusCode::kInvalidArgument,
                "stages.0.format_rule: rewards.rules has no rule format_tag; did you mean format_tags?");
  EXPECT_STATUS(Load("", {"stages.s.accuracy_rule=math_answr"}), absl::StatusCode::kInvalidArgument,
                "stages.0.accuracy_rule: rewards.rules has no rule math_answr; did you mean math_answer?");
  EXPECT_OK(Load("", {"stages.s.format_rule="}));
  EXPECT_OK(Load("", {"rewards.rules.rules={math_answer: }"}));
}

TEST_F(EvaluateStageTest, AQuarantinedProblemIsMissingAndCounted) {
  ASSERT_OK_AND_ASSIGN(const LoadedConfig loaded, Load());
  StageRun run(loaded, folder_ + "/run");
  run.Quarantine(3);
  ASSERT_OK_AND_ASSIGN(const StageReport report, run.Start());
  EXPECT_EQ(report.metrics.at("num_problems"), 9);
  EXPECT_EQ(report.metrics.at("num_quarantined_groups"), 1);
}

}  // namespace
}  // namespace grpo
