// A synthesize stage with a worker that says what the test wants.
#include <algorithm>
#include <filesystem>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/files.h"
#include "common/status_testing.h"
#include "nlohmann/json.hpp"
#include "trainer/stage/step_source.h"
#include "trainer/stage/stored_top_k.h"
#include "trainer/stage/testing.h"

namespace grpo {
namespace {

class SynthesizeStageTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(folder_);
    Load({});
  }
  void Load(const std::vector<std::string>& overrides) {
    ASSERT_OK_AND_ASSIGN(loaded_, LoadTestConfig(folder_ + "/config",
                                                 "  - {name: s, type: synthesize, policy: model, data: problems, "
                                                 "rewards: rules, problems: 40, samples_per_problem: 2, export_to: "
                                                 "out}\n",
                                                 overrides));
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  static void Judge(v1::ScoredCompletion* sample, bool right) {
    for (v1::RuleScore& rule : *sample->mutable_score()->mutable_rules()) rule.set_value(right);
  }

  const std::string folder_ = ::testing::TempDir() + "/synthesize_test";
  LoadedConfig loaded_;
};

TEST_F(SynthesizeStageTest, OfAnEndpointItKeepsTextsWithTheirModelAndAddsUpWhatTheyCostOverAKill) {
  Load({"policies.far.endpoint.url=http://127.0.0.1:1/v1", "policies.far.endpoint.model=teacher-9",
        "stages.s.policy=far"});
  const auto judge = [](const v1::Lease&, v1::ScoredCompletion* sample) {
    Judge(sample, sample->completion().index() == 0);
  };
  StageRun run(loaded_, folder_ + "/run");
  run.SetJudge(judge);
  EXPECT_STATUS(run.Start(/*kill_at_poll=*/1), absl::StatusCode::kAborted, "killed");
  ASSERT_OK_AND_ASSIGN(const StageReport report, run.Start());
  EXPECT_EQ(report.policy, "far");
  EXPECT_EQ(report.metrics.at("endpoint/num_answers"), 40 * 2);
  EXPECT_EQ(report.metrics.at("endpoint/input_tokens"), 40 * 10);
  EXPECT_EQ(report.metrics.at("endpoint/output_tokens"), 40 * 20);
  EXPECT_DOUBLE_EQ(report.metrics.at("endpoint/usd"), 40 * 0.25);
  EXPECT_EQ(report.metrics.count("traces/mean_length"), 0u);
  EXPECT_EQ(run.status().metrics().at("endpoint/usd"), 40 * 0.25);
  ASSERT_OK_AND_ASSIGN(const std::string written, ReadFile(report.exported_to));
  const std::vector<std::string> lines = absl::StrSplit(written, '\n', absl::SkipEmpty());
  EXPECT_EQ(lines.size(), 40u);
  const nlohmann::json trace = nlohmann::json::parse(lines[0]);
  EXPECT_EQ(trace.at("policy"), "far");
  EXPECT_EQ(trace.at("model"), "teacher-9");
}

TEST_F(SynthesizeStageTest, WritesWhatTheRulesAcceptAndCountsWhyTheRestIsNot) {
  StageRun run(loaded_, folder_ + "/run");
  run.SetJudge([](const v1::Lease& lease, v1::ScoredCompletion* sample) {
    Judge(sample, sample->completion().index() == 0);
    // Our own failure is no wrong answer.
    sample->mutable_score()->set_excluded(sample->completion().index() == 1 && lease.key().group_index() == 7);
  });
  ASSERT_OK_AND_ASSIGN(const StageReport report, run.Start());
  EXPECT_EQ(report.steps, 40);
  EXPECT_EQ(report.metrics.at("num_samples"), 80);
  EXPECT_EQ(
      report.metrics.at("num_traces") + report.metrics.at("rejected/wrong") + report.metrics.at("rejected/unscored"),
      80);
  EXPECT_EQ(report.metrics.at("rejected/unscored"), 1);
  ASSERT_OK_AND_ASSIGN(const std::string written, ReadFile(report.exported_to));
  const std::vector<std::string> lines = absl::StrSplit(written, '\n', absl::SkipEmpty());
  EXPECT_EQ(static_cast<double>(lines.size()), report.metrics.at("num_traces"));
  EXPECT_EQ(nlohmann::json::parse(lines[0]).at("policy"), kTestPolicy);
}

TEST_F(SynthesizeStageTest, SaysSoWhenNothingIsAccepted) {
  StageRun run(loaded_, folder_ + "/run");
  run.SetJudge([](const v1::Lease&, v1::ScoredCompletion* sample) { Judge(sample, false); });
  EXPECT_STATUS(run.Start(), absl::StatusCode::kFailedPrecondition, "of 80 completions none was accepted");
}

// What was sampled is not sampled again, though no checkpoint keeps it.
TEST_F(SynthesizeStageTest, GoesOnFromItsLogAfterItWasKilled) {
  StageRun run(loaded_, folder_ + "/run");
  run.SetJudge([](const v1::Lease&, v1::ScoredCompletion* sample) { Judge(sample, true); });
  EXPECT_STATUS(run.Start(/*kill_at_poll=*/1), absl::StatusCode::kAborted, "killed");
  int64_t num_before = 0;
  if (const auto log = ReadFile(folder_ + "/run/synthesis/s.jsonl"); log.ok())
    num_before = static_cast<int64_t>(std::count(log->begin(), log->end(), '\n')) - 1;
  std::set<int64_t> sampled;
  run.SetJudge([&](const v1::Lease& lease, v1::ScoredCompletion* sample) {
    sampled.insert(lease.key().group_index());
    Judge(sample, true);
  });
  ASSERT_OK(run.Start());
  EXPECT_EQ(*sampled.begin(), num_before);
  EXPECT_EQ(static_cast<int64_t>(sampled.size()), 40 - num_before);
}

TEST_F(SynthesizeStageTest, StoresWhatThePolicyHeldLikelyAtEachTokenOfItsTraces) {
  Load({"stages.s.teacher_top_k=3"});
  StageRun run(loaded_, folder_ + "/run");
  run.SetJudge([](const v1::Lease&, v1::ScoredCompletion* sample) { Judge(sample, true); });
  ASSERT_OK_AND_ASSIGN(const StageReport report, run.Start());
  // Of FakeModels: 1/2 + 1/4 + 1/8, but for the rounding.
  EXPECT_NEAR(report.metrics.at("stored_top_k_mass_mean"), 0.875, 1e-3);
  EXPECT_GT(report.metrics.at("stored_top_k_bytes"), 0);
  ASSERT_OK_AND_ASSIGN(const auto stored, StoredTopK::Open(folder_ + "/run/out.top_k"));
  EXPECT_EQ(static_cast<double>(stored->num_traces()), report.metrics.at("num_traces"));
  const TopKOrigin& origin = stored->origin();
  EXPECT_EQ(origin.k, 3);
  EXPECT_EQ(origin.policy, kTestPolicy);
  EXPECT_EQ(origin.weights_hash, "1");
  EXPECT_EQ(origin.stage, "s");
  EXPECT_EQ(origin.traces_file, "out");
  EXPECT_EQ(origin.traces_sha256, report.artifact_sha256);
  // Each line's, as a learner with the same tokenizer reads it.
  const FakeClock clock;
  Coordinator coordinator(loaded_.config.coordinator, {.run_id = "r", .config_sha256 = "c", .epoch = 1}, clock);
  FakeModels models(loaded_.config, &coordinator, FakeWeights());
  const StagePolicy& policy = **models.Get(kTestPolicy);
  const RunFiles files(loaded_.config, folder_ + "/run", {}, {{"out", report.artifact_sha256}});
  ASSERT_OK_AND_ASSIGN(const auto data, files.OpenData("written"));
  ASSERT_EQ(data->size(), stored->num_traces());
  for (int64_t i = 0; i < data->size(); ++i) {
    ASSERT_OK_AND_ASSIGN(const TokenizedTrace trace, TokenizeTrace(data->At(i), policy.tokenizer(), 0));
    ASSERT_OK_AND_ASSIGN(const TopK top, stored->Of(i, trace, 3));
    EXPECT_EQ(top.ids, policy.TopLogprobs({trace}, 3).value().at(0).ids);
  }
}

TEST_F(SynthesizeStageTest, StoresNothingWhenItIsNotAsked) {
  StageRun run(loaded_, folder_ + "/run");
  run.SetJudge([](const v1::Lease&, v1::ScoredCompletion* sample) { Judge(sample, true); });
  ASSERT_OK_AND_ASSIGN(const StageReport report, run.Start());
  EXPECT_EQ(report.metrics.count("stored_top_k_bytes"), 0u);
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/run/out.top_k"));
}

TEST_F(SynthesizeStageTest, AQuarantinedProblemIsCountedAsSuch) {
  StageRun run(loaded_, folder_ + "/run");
  run.SetJudge([](const v1::Lease&, v1::ScoredCompletion* sample) { Judge(sample, true); });
  run.Quarantine(5);
  ASSERT_OK_AND_ASSIGN(const StageReport report, run.Start());
  EXPECT_EQ(report.metrics.at("rejected/quarantined"), 2);
  EXPECT_EQ(report.metrics.at("num_problems_without_trace"), 1);
}

}  // namespace
}  // namespace grpo
