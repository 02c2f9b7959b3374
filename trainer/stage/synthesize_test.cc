// A synthesize stage with a worker that says what the test wants.
#include <algorithm>
#include <filesystem>
#include <map>
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
  absl::StatusOr<LoadedConfig> TryLoad(const std::vector<std::string>& overrides) const {
    return LoadTestConfig(
        folder_ + "/config",
        "  - {name: s, type: synthesize, policy: model, data: problems, rewards: rules, problems: 40, "
        "samples_per_problem: 2, export_to: out}\n",
        overrides);
  }
  void Load(const std::vector<std::string>& overrides) { ASSERT_OK_AND_ASSIGN(loaded_, TryLoad(overrides)); }

  void WriteProblems(const std::string& name, const std::vector<std::string>& problems) const {
    std::string lines;
    for (const std::string& problem : problems) {
      const nlohmann::json line = {{"problem", problem}};
      absl::StrAppend(&lines, line.dump(), "\n");
    }
    ASSERT_OK(WriteFileAtomically(absl::StrCat(folder_, "/", name), lines));
  }

  static std::vector<nlohmann::json> Lines(const std::string& path) {
    std::vector<nlohmann::json> lines;
    const std::string content = ReadFile(path).value();
    for (const absl::string_view line : absl::StrSplit(content, '\n', absl::SkipEmpty()))
      lines.push_back(nlohmann::json::parse(line));
    return lines;
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

TEST_F(SynthesizeStageTest, EachProblemHasOneOfItsTeachers) {
  Load({"stages.s.policy=", "stages.s.teachers=[{policy: model, share: 3}, {policy: frozen, share: 1}]"});
  StageRun run(loaded_, folder_ + "/run");
  run.SetJudge([](const v1::Lease&, v1::ScoredCompletion* sample) { Judge(sample, true); });
  ASSERT_OK_AND_ASSIGN(const StageReport report, run.Start());
  EXPECT_EQ(report.policy, kTestPolicy);
  std::map<std::string, int> num_problems;
  std::string last;
  for (const auto& problem : Lines(folder_ + "/run/out.problems.jsonl")) {
    last = problem.at("policy").get<std::string>();
    ++num_problems[last];
  }
  // The groups of one teacher, then those of the next.
  EXPECT_EQ(last, kOtherTestPolicy);
  EXPECT_EQ(num_problems[kTestPolicy] + num_problems[kOtherTestPolicy], 40);
  EXPECT_GT(num_problems[kTestPolicy], num_problems[kOtherTestPolicy]);
  EXPECT_GT(num_problems[kOtherTestPolicy], 0);
  for (const auto& trace : Lines(report.exported_to))
    EXPECT_TRUE(trace.at("policy") == kTestPolicy || trace.at("policy") == kOtherTestPolicy);
}

TEST_F(SynthesizeStageTest, ProblemsOfAnEvaluationSetAreNotSampled) {
  ASSERT_OK_AND_ASSIGN(const auto data, RunFiles(loaded_.config, "", {}, {}).OpenData("problems"));
  const std::string first = data->At(0).prompt.text();
  WriteProblems("evaluation.jsonl", {first});
  Load({"data.evaluation={source: jsonl, path: " + folder_ + "/evaluation.jsonl, answer_field: ''}",
        "stages.s.decontaminate={data: [evaluation], ngram: 3}"});
  StageRun run(loaded_, folder_ + "/run");
  std::set<std::string> sampled;
  run.SetJudge([&](const v1::Lease& lease, v1::ScoredCompletion* sample) {
    sampled.insert(lease.prompt().text());
    Judge(sample, true);
  });
  ASSERT_OK_AND_ASSIGN(const StageReport report, run.Start());
  EXPECT_EQ(report.metrics.at("num_problems_contaminated"), 1);
  EXPECT_EQ(report.metrics.at("num_problems"), 39);
  EXPECT_EQ(sampled.size(), 39u);
  EXPECT_EQ(sampled.count(first), 0u);
}

TEST_F(SynthesizeStageTest, SaysSoWhenAnEvaluationSetLeavesNothing) {
  Load({"stages.s.decontaminate={data: [problems], ngram: 3}"});
  EXPECT_STATUS(StageRun(loaded_, folder_ + "/run").Start(), absl::StatusCode::kFailedPrecondition,
                "all 40 problems of data.problems share 3 words");
}

TEST_F(SynthesizeStageTest, SaysWhatWasMeasuredOfEachProblem) {
  Load({"stages.s.difficulty=[{up_to: 0.5, keep: 0}, {up_to: 1, keep: 1}]"});
  StageRun run(loaded_, folder_ + "/run");
  run.SetJudge([](const v1::Lease& lease, v1::ScoredCompletion* sample) {
    Judge(sample, sample->completion().index() == 0 || lease.key().group_index() % 4 == 0);
  });
  ASSERT_OK_AND_ASSIGN(const StageReport report, run.Start());
  EXPECT_EQ(report.metrics.at("solve_rate_mean"), 0.625);
  EXPECT_EQ(report.metrics.at("num_problems_without_trace"), 30);
  EXPECT_EQ(report.metrics.at("rejected/difficulty"), 30);
  const auto problems = Lines(folder_ + "/run/out.problems.jsonl");
  ASSERT_EQ(problems.size(), 40u);
  for (const auto& problem : problems) {
    const bool easy = problem.at("group_index").get<int64_t>() % 4 == 0;
    EXPECT_EQ(problem.at("solve_rate"), easy ? 1.0 : 0.5);
    EXPECT_EQ(problem.contains("dropped"), !easy);
  }
  for (const auto& trace : Lines(report.exported_to)) EXPECT_EQ(trace.at("solve_rate"), 1.0);
}

// What a second stage reads as problems without answers.
TEST_F(SynthesizeStageTest, RewritesProblems) {
  Load({"stages.s.rewrite={template: \"Change: {problem}\"}",
        "stages.s.accuracy_rule=", "data.rewritten={source: jsonl, artifact: out, answer_field: ''}"});
  StageRun run(loaded_, folder_ + "/run");
  std::set<std::string> told;
  run.SetJudge([&](const v1::Lease& lease, v1::ScoredCompletion* sample) {
    told.insert(lease.prompt().text().substr(0, 8));
    sample->mutable_completion()->set_text(
        absl::StrCat("new ", lease.key().group_index(), "/", sample->completion().index()));
    Judge(sample, true);
  });
  ASSERT_OK_AND_ASSIGN(const StageReport report, run.Start());
  EXPECT_EQ(told, std::set<std::string>{"Change: "});
  EXPECT_EQ(report.metrics.at("num_traces"), 80);
  const RunFiles files(loaded_.config, folder_ + "/run", {}, {{"out", report.artifact_sha256}});
  ASSERT_OK_AND_ASSIGN(const auto data, files.OpenData("rewritten"));
  ASSERT_EQ(data->size(), 80);
  EXPECT_EQ(data->At(3).prompt.text(), "new 1/1");
  EXPECT_EQ(data->At(3).prompt.answer(), "");
  EXPECT_EQ(data->At(3).prompt.metadata().fields().count("rewritten_from"), 1u);
}

TEST_F(SynthesizeStageTest, LabelsProblemsThatHaveNoAnswer) {
  WriteProblems("unanswered.jsonl", {"Q0", "Q1", "Q2"});
  Load({"data.problems={source: jsonl, path: " + folder_ + "/unanswered.jsonl, answer_field: ''}",
        "stages.s.problems=0", "stages.s.samples_per_problem=4", "stages.s.pseudo_labels={min_share: 0.75}"});
  StageRun run(loaded_, folder_ + "/run");
  run.SetJudge([](const v1::Lease& lease, v1::ScoredCompletion* sample) {
    Judge(sample, true);
    const int32_t i = sample->completion().index();
    const bool agrees = i < 3 && (i < 2 || lease.key().group_index() == 0);
    v1::RuleScore& rule = *sample->mutable_score()->mutable_rules(0);
    rule.set_extracted(agrees ? "7" : absl::StrCat(i));
    rule.set_outcome(v1::OUTCOME_REFERENCE_UNPARSABLE);
    rule.set_value(0);
    sample->mutable_score()->set_excluded(true);
    sample->mutable_completion()->set_text(absl::StrCat("so ", i));
  });
  ASSERT_OK_AND_ASSIGN(const StageReport report, run.Start());
  EXPECT_EQ(report.metrics.at("num_pseudo_labels"), 1);
  EXPECT_EQ(report.metrics.at("pseudo_label_margin_mean"), 0.5);
  const auto traces = Lines(report.exported_to);
  ASSERT_EQ(traces.size(), 3u);
  for (const auto& trace : traces) {
    EXPECT_EQ(trace.at("answer"), "7");
    EXPECT_EQ(trace.at("majority_share"), 0.75);
  }
}

TEST_F(SynthesizeStageTest, KeysThatDoNotGoTogetherAreRefused) {
  const std::pair<std::vector<std::string>, std::string> cases[] = {
      {{"stages.s.teachers=[{policy: frozen}]"}, "stages.0.policy: stands beside teachers"},
      {{"stages.s.policy="}, "stages.0.policy: "},
      {{"stages.s.teachers=[{policy: model}, {policy: frozen}]", "stages.s.policy=", "stages.s.teacher_top_k=4"},
       "stages.0.teacher_top_k: "},
      {{"stages.s.difficulty=[{up_to: 0.5}]"}, "stages.0.difficulty.0.up_to: "},
      {{"stages.s.rewrite={template: Change it}"}, "stages.0.rewrite.template: has no {problem}"},
      {{"stages.s.rewrite={template: \"{problem}\"}", "stages.s.pseudo_labels={min_share: 0.5}"},
       "stages.0.pseudo_labels.min_share: stands beside rewrite"},
      {{"stages.s.accuracy_rule="}, "stages.0.accuracy_rule: is empty"},
      {{"stages.s.select={min_tokens: 9, max_tokens: 8}"}, "stages.0.select.max_tokens: "},
  };
  for (const auto& [overrides, message] : cases) {
    EXPECT_STATUS(TryLoad(overrides), absl::StatusCode::kInvalidArgument, message);
  }
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
