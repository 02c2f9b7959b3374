// What a run will need, found out before its first stage: each fault here let the run begin, and ended it later.
#include "trainer/preflight.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/files.h"
#include "common/status_testing.h"
#include "data/sources.h"
#include "gmock/gmock.h"
#include "trainer/disk_need.h"
#include "trainer/memory_need.h"
#include "trainer/stage/testing.h"

namespace grpo {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kTrain[] =
    "  - {name: tr, type: train, algorithm: grpo, policy: model, data: problems, rewards: rules, steps: 2, "
    "prompts_per_step: 4, group_size: 2, sampling: {max_new_tokens: 8}, export_to: out}\n";
constexpr char kSynthesize[] =
    "  - {name: syn, type: synthesize, policy: model, data: problems, problems: 4, rewards: rules, "
    "samples_per_problem: 1, sampling: {max_new_tokens: 8}, export_to: other}\n";
constexpr char kEvaluate[] =
    "  - {name: ev, type: evaluate, policy: model, data: traces, rewards: rules, samples_per_problem: 1, sampling: "
    "{max_new_tokens: 8}}\n";

class PreflightTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::remove_all(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // traces.jsonl holds `traces` where it is not empty; `overrides` are those of --set.
  absl::StatusOr<std::vector<CheckedData>> Check(const std::string& stages, const std::string& traces = "",
                                                 const std::vector<std::string>& overrides = {}) {
    ASSIGN_OR_RETURN(loaded_, LoadTestConfig(folder_, stages, overrides));
    if (!traces.empty()) {
      RETURN_IF_ERROR(WriteFileAtomically(folder_ + "/traces.jsonl", traces));
      ASSIGN_OR_RETURN(loaded_, LoadRunConfig(folder_ + "/run.yaml", overrides));
    }
    preflight_ = std::make_unique<Preflight>(loaded_.config);
    return preflight_->CheckAhead(Files());
  }
  RunFiles Files(std::map<std::string, std::string> artifacts = {}) const {
    return {loaded_.config, folder_, loaded_.data_sha256, std::move(artifacts)};
  }
  static std::string Line(const std::string& problem, const std::string& answer) {
    return absl::StrCat(R"({"problem": ")", problem, R"(", "answer": ")", answer, "\"}\n");
  }

  const std::string folder_ = ::testing::TempDir() + "/preflight_test";
  LoadedConfig loaded_;
  std::unique_ptr<Preflight> preflight_;
};

TEST_F(PreflightTest, APolicyThatIsOnlyAnAddressReadsTextsOfAnyLengthAndTakesNoMemory) {
  const std::vector<std::string> far = {"policies.far.endpoint.url=http://127.0.0.1:1/v1",
                                        "policies.far.endpoint.model=m", "stages.ev.policy=far"};
  ASSERT_OK_AND_ASSIGN(
      const std::vector<CheckedData> checked,
      Check(kEvaluate, Line(std::string(5000, 'H'), "1") + Line("what the tokenizer lacks", "2"), far));
  ASSERT_EQ(checked.size(), 1u);
  EXPECT_EQ(checked[0].num_items, 2);
  EXPECT_EQ(checked[0].num_answers, 2);
  ASSERT_OK_AND_ASSIGN(const StageMemory need, MemoryNeed(loaded_.config, *preflight_, /*num_ranks=*/1));
  EXPECT_EQ(need.AtLeast(1), 0);
  EXPECT_STATUS(Check(kEvaluate, Line("", "1"), far), absl::StatusCode::kDataLoss, "there is no text");
}

TEST_F(PreflightTest, SaysWhatEachStageReads) {
  ASSERT_OK_AND_ASSIGN(const std::vector<CheckedData> checked,
                       Check(absl::StrCat(kTrain, kEvaluate), Line("H1", "1") + Line("H2 L4", "2")));
  ASSERT_EQ(checked.size(), 2u);
  EXPECT_EQ(checked[0].stage, "tr");
  EXPECT_GT(checked[0].num_items, 10);
  EXPECT_EQ(checked[0].num_answers, checked[0].num_items);
  EXPECT_EQ(checked[1].num_items, 2);
  EXPECT_EQ(checked[1].longest_tokens, 5);
  EXPECT_EQ(checked[1].num_unreadable, 0);
  EXPECT_THAT(Notes(checked), IsEmpty());
}

// The prompt of a later stage that does not fit.
TEST_F(PreflightTest, APromptOfALaterStageThatIsTooLong) {
  const std::string traces = Line("H1", "2") + Line(std::string(400, 'H'), "2") + Line("H2", "4");
  const absl::Status status =
      Check(absl::StrCat(kTrain, kEvaluate), traces, {"rollout_worker.context_tokens=64"}).status();
  EXPECT_STATUS(status, absl::StatusCode::kInvalidArgument, "stage ev: the prompt of problem line/2 has 400 tokens");
  EXPECT_THAT(std::string(status.message()), HasSubstr("between 1 and 64"));
  EXPECT_OK(Check(absl::StrCat(kTrain, kEvaluate), traces));
  // To the token.
  const std::string exact = Line(std::string(56, 'H'), "2");
  EXPECT_OK(Check(absl::StrCat(kTrain, kEvaluate), exact, {"rollout_worker.context_tokens=64"}));
  EXPECT_FALSE(Check(absl::StrCat(kTrain, kEvaluate), exact, {"rollout_worker.context_tokens=63"}).ok());
}

TEST_F(PreflightTest, OnlyWhatTheStageReadsCounts) {
  const std::string traces = Line("H1", "2") + Line(std::string(400, 'H'), "no number");
  const std::vector<std::string> first = {"rollout_worker.context_tokens=64", "stages.ev.problems=1"};
  EXPECT_FALSE(Check(absl::StrCat(kTrain, kEvaluate), traces, first).ok());  // greedily it reads all
  std::vector<std::string> sampled = first;
  sampled.push_back("stages.ev.greedy=false");
  ASSERT_OK_AND_ASSIGN(const std::vector<CheckedData> checked, Check(absl::StrCat(kTrain, kEvaluate), traces, sampled));
  EXPECT_EQ(checked[1].num_items, 1);
}

TEST_F(PreflightTest, EachKindOfFaultOfALaterStageIsNamedWithItsStage) {
  const std::string sft = "  - {name: later, type: train, algorithm: sft, policy: model, data: traces, steps: 4}\n";
  struct Case {
    std::string stages, traces, says;
    std::vector<std::string> overrides = {};
  };
  for (const Case& c : std::vector<Case>{
           {kEvaluate, Line("Z1", "2"), "stage ev: problem line/1 of data.traces cannot be tokenized for policy model"},
           {"  - {name: ev, type: evaluate, policy: model, data: corpus, rewards: rules, problems: 5}\n", "",
            "stage ev: data.corpus holds documents, and stage type evaluate reads problems"},
           {"  - {name: ev, type: evaluate, policy: model, data: corpus, rewards: rules}\n", "",
            "stage ev: data.corpus is endless; say how many `problems`"},
           {"  - {name: later, type: train, algorithm: pretrain, policy: model, data: problems, steps: 5}\n", "",
            "stage later: data.problems holds problems, and algorithm pretrain reads documents"},
           {"  - {name: later, type: train, algorithm: pretrain, policy: model, data: corpus, steps: 5, row_tokens: "
            "1025}\n",
            "", "stage later: row_tokens is 1025, and policies.model has 1024 positions"},
           {sft, Line("H1", "2"), "stage later: data.traces: line/1 has no completion to learn from"},
           {sft, R"({"problem": "H1", "completion": "Z", "answer": "2"})",
            "stage later: data.traces: the completion of line/1"},
           {sft, absl::StrCat(R"({"problem": "H1", "completion": ")", std::string(2000, '1'), R"(", "answer": "2"})"),
            "trace line/1 has 2003 tokens, policy model has 1024 positions"},
           {absl::StrReplaceAll(kEvaluate, {{"data: traces", "data: both"}}),
            Line("Z1", "2"),
            "stage ev: problem traces/line/1 of data.both cannot be tokenized",
            {"data.both={source: mix, mix: {traces: 0.5, problems: 0.5}}", "stages.ev.problems=4"}},
           {absl::StrReplaceAll(kEvaluate, {{"data: traces", "data: both"}}),
            "",
            "mix.traces",
            {"data.both={source: mix, mix: {traces: 0.5, corpus: 0.5}}", "stages.ev.problems=4"}},
           {kSynthesize,
            "",
            "stage syn: data.corpus has no end, and decontaminate of stage type synthesize reads all of it",
            {"stages.syn.decontaminate={data: [corpus]}"}},
           {kEvaluate, Line("H1", "\\\\frac{"), "can read none of the 1 reference answers of data.traces"}}) {
    EXPECT_STATUS(Check(absl::StrCat(kTrain, c.stages), c.traces, c.overrides), absl::StatusCode::kInvalidArgument,
                  c.says);
  }
}

// They may be anything, in any language: no policy reads them.
TEST_F(PreflightTest, EvaluationSetsThatNothingIsToBeLearnedOfAreReadBeforeTheFirstStage) {
  ASSERT_OK_AND_ASSIGN(const std::vector<CheckedData> checked,
                       Check(absl::StrCat(kTrain, kSynthesize), Line("Z1", "2") + Line("\xC3\xA9", "3"),
                             {"stages.syn.decontaminate={data: [traces]}"}));
  ASSERT_EQ(checked.size(), 3u);
  EXPECT_EQ(checked[2].use.data, "traces");
  EXPECT_EQ(checked[2].num_items, 2);
}

TEST_F(PreflightTest, ErrorsOfAllStagesComeTogether) {
  const absl::Status status =
      Check(absl::StrCat(kTrain, kEvaluate,
                         "  - {name: later, type: train, algorithm: pretrain, policy: model, data: problems, steps: "
                         "5}\n"),
            Line("Z1", "2"))
          .status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("stage ev: "));
  EXPECT_THAT(std::string(status.message()), HasSubstr("stage later: "));
  // What two stages lack is said once.
  const absl::Status twice =
      Check(absl::StrCat(kEvaluate, absl::StrReplaceAll(kEvaluate, {{"name: ev", "name: again"}})), Line("Z1", "2"))
          .status();
  EXPECT_THAT(std::string(twice.message()), ::testing::Not(HasSubstr("stage again")));
}

TEST_F(PreflightTest, UnreadableReferencesAreCountedAndRefusedAboveTheShare) {
  std::string traces = Line("H1", "\\\\frac{");
  for (int i = 0; i < 99; ++i) traces += Line(absl::StrCat("H", i), "2");
  const std::string stages = absl::StrCat(kTrain, kEvaluate);
  ASSERT_OK_AND_ASSIGN(const std::vector<CheckedData> checked, Check(stages, traces));
  EXPECT_EQ(checked[1].num_unreadable, 1);
  EXPECT_EQ(checked[1].num_answers, 100);
  ASSERT_EQ(Notes(checked).size(), 1u);
  EXPECT_THAT(Notes(checked)[0], HasSubstr("stage ev: 1 of 100 reference answers of data.traces cannot be read"));
  EXPECT_STATUS(Check(stages, traces + Line("H1", "\\\\frac{")), absl::StatusCode::kInvalidArgument,
                "stage ev: the rules of rewards.rules cannot read 2 of the 101 reference answers of data.traces");
  EXPECT_OK(Check(stages, traces + Line("H1", "\\\\frac{"), {"run.max_unreadable_reference_frac=0.02"}));
  EXPECT_FALSE(Check(stages, traces, {"run.max_unreadable_reference_frac=0"}).ok());
  // Nobody scores against these.
  EXPECT_OK(Check(kTrain, traces + traces, {"run.max_unreadable_reference_frac=0"}));
}

TEST_F(PreflightTest, WhatAnEarlierStageWritesIsSaidAndCheckedBeforeTheStageThatReadsIt) {
  const std::string stages =
      "  - {name: write, type: synthesize, policy: model, data: problems, rewards: rules, problems: 20, export_to: "
      "out}\n"
      "  - {name: learn, type: train, algorithm: sft, policy: model, data: written, steps: 2, traces_per_step: 2}\n";
  ASSERT_OK_AND_ASSIGN(const std::vector<CheckedData> checked, Check(stages));
  ASSERT_EQ(checked.size(), 2u);
  EXPECT_EQ(checked[1].written_by, "write");
  EXPECT_THAT(Notes(checked), ::testing::ElementsAre(HasSubstr("stage learn: data.written is what stage write will "
                                                               "write")));
  ASSERT_OK_AND_ASSIGN(const auto nothing_left, preflight_->CheckBefore(Files(), 0));
  EXPECT_THAT(nothing_left, IsEmpty());
  ASSERT_OK(WriteFileAtomically(folder_ + "/out", R"({"problem": "H1", "completion": "Z", "answer": "2"})"));
  ASSERT_OK_AND_ASSIGN(const auto written, MakeDataSource(loaded_.config.data.at("traces"), ""));
  const auto hash = [&] {
    DataOptions options = loaded_.config.data.at("traces");
    options.options = WithText(options.options, "path", folder_ + "/out");
    return (*MakeDataSource(options, ""))->content_sha256();
  };
  EXPECT_STATUS(preflight_->CheckBefore(Files({{"out", hash()}}), 1), absl::StatusCode::kInvalidArgument,
                "the completion of line/1");
}

TEST_F(PreflightTest, StagesThatAreDoneAreNotAskedAgain) {
  ASSERT_OK(Check(absl::StrCat(kTrain, kEvaluate)));
  ASSERT_OK(WriteFileAtomically(folder_ + "/traces.jsonl", Line("H1", "2")));
  ASSERT_OK_AND_ASSIGN(loaded_, LoadRunConfig(folder_ + "/run.yaml"));
  ASSERT_OK_AND_ASSIGN(const auto rest, Preflight(loaded_.config).CheckAhead(Files(), 1));
  ASSERT_EQ(rest.size(), 1u);
  EXPECT_EQ(rest[0].stage, "ev");
}

TEST_F(PreflightTest, AFrozenPolicyMustReadTheSameTokens) {
  const std::string stages =
      absl::StrReplaceAll(kTrain, {{"steps: 2", "steps: 2, kl_coefficient: 0.1, reference_policy: other"}});
  const std::string shape = "hidden_size: 8, intermediate_size: 12, num_layers: 1, num_heads: 2, num_kv_heads: 1";
  const auto other = [&](const std::string& tokenizer, const std::string& more) {
    return std::vector<std::string>{
        absl::StrCat("policies.other={random_init: {tokenizer: ", tokenizer, ", ", shape, more, "}}")};
  };
  EXPECT_OK(Check(stages, "", other("tokenizer.json", "")));
  EXPECT_STATUS(Check(stages, "", other("tokenizer.json", ", max_positions: 12")), absl::StatusCode::kInvalidArgument,
                "stage tr: policies.other has 12 positions, and the stage's data need");
  ASSERT_OK(WriteFileSynced(folder_ + "/small.json",
                            R"({"decoder":{"type":"Fuse"},"model":{"type":"BPE","vocab":{"a":0,"<eos>":1},)"
                            R"("merges":[]}})"));
  EXPECT_STATUS(Check(stages, "", other("small.json", "")), absl::StatusCode::kInvalidArgument,
                "policies.other, which is only read, needs the tokenizer of policies.model");
}

TEST_F(PreflightTest, TheDiskHoldsTheCheckpointsThatAreKeptTheOneBeingWrittenAndWhatIsExported) {
  ASSERT_OK(Check(kTrain));
  ASSERT_OK_AND_ASSIGN(const PolicyShape* const shape, preflight_->Shape("model"));
  const double weights = 4.0 * static_cast<double>(shape->config.NumParameters());
  // checkpoint.every_steps is 2 and the stage has 2 steps: only the end is saved, beside the export.
  EXPECT_EQ(*DiskNeed(loaded_.config, *preflight_), 2 * weights);
  // Two are kept and a third is written, each with both moments; the export comes when two are there.
  ASSERT_OK(Check(kTrain, "", {"stages.tr.steps=100"}));
  EXPECT_EQ(*DiskNeed(loaded_.config, *preflight_), 9 * weights);
  ASSERT_OK(Check(kTrain, "", {"stages.tr.steps=100", "checkpoint.keep=5", "stages.tr.export_to="}));
  EXPECT_EQ(*DiskNeed(loaded_.config, *preflight_), 6 * 3 * weights);
  EXPECT_OK(CheckDisk(1, folder_ + "/not/yet/there"));
  EXPECT_STATUS(CheckDisk(1e30, folder_), absl::StatusCode::kFailedPrecondition, "make room");
}

}  // namespace
}  // namespace grpo
