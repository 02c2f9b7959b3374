#include "trainer/stage/step_source.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/seeds.h"
#include "common/sha256.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "trainer/stage/testing.h"
#include "trainer/stage/top_k_writer.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
// What FakeModels' policy ends a text with.
constexpr uint32_t kEos = 0;

// Plans what the test says, and nothing else.
class PlanOnly : public Algorithm {
 public:
  explicit PlanOnly(StepPlan plan) : plan_(std::move(plan)) {}
  StepPlan plan() const override { return plan_; }
  std::vector<LossTerm> losses() const override { return {}; }
  absl::StatusOr<StepBatch> Prepare(const StepInput&) const override { return absl::UnimplementedError("a plan only"); }

 private:
  const StepPlan plan_;
};

class NoSaver : public Saver {
 public:
  absl::Status Poll(Cursor) override { return absl::OkStatus(); }
  absl::Status Save(const std::string&, Cursor) override { return absl::OkStatus(); }
};

// A stage "s" of a run that has not begun, with everything that a source is given.
class StepSourceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(folder_);
    Load({});
  }
  void TearDown() override {
    worker_.reset();
    std::filesystem::remove_all(folder_);
  }

  void Load(const std::vector<std::string>& overrides) {
    const std::string stages =
        "  - {name: s, type: train, algorithm: pretrain, policy: model, data: corpus, steps: 1}\n";
    ASSERT_OK_AND_ASSIGN(LoadedConfig loaded, LoadTestConfig(folder_ + "/config", stages, overrides));
    run_ = std::make_unique<RunParts>(std::move(loaded), folder_, artifacts_);
    policy_ = *run_->models.Get(kTestPolicy);
  }

  // From the start, or at `data_position`.
  absl::StatusOr<std::unique_ptr<StepSource>> Make(const std::string& data, StepPlan plan, int64_t data_position = 0) {
    return MakeStepSource(run_->context, data, PlanOnly(std::move(plan)), *policy_, data_position);
  }

  // The input of the step, which is of this kind.
  template <class Input>
  static Input Next(StepSource& source, int64_t step = 0) {
    absl::StatusOr<StepInput> input = source.Next(step, [] { return absl::OkStatus(); });
    EXPECT_OK(input);
    if (!input.ok() || !std::holds_alternative<Input>(*input)) {
      ADD_FAILURE() << "no input of the plan's kind";
      return {};
    }
    return std::get<Input>(*std::move(input));
  }

  // In place of the traces that there are.
  void WriteTraces(const std::vector<std::pair<std::string, std::string>>& prompts_and_completions) {
    std::string lines;
    for (const auto& [prompt, completion] : prompts_and_completions) {
      absl::StrAppend(&lines, "{\"problem\": \"", prompt, "\", \"completion\": \"", completion,
                      "\", \"answer\": \"1\"}\n");
    }
    ASSERT_OK(WriteFileAtomically(folder_ + "/other.jsonl", lines));
    Load({"data.traces.path=" + folder_ + "/other.jsonl"});
  }

  // What a synthesize stage leaves: five traces, and 4 likely tokens at each token beside them.
  void WriteStored() {
    std::string lines;
    for (int i = 0; i < 5; ++i)
      absl::StrAppend(&lines, "{\"problem\": \"H", i, "\", \"completion\": \"", std::string(i, '1'),
                      "2\", \"answer\": \"1\"}\n");
    ASSERT_OK(WriteFileAtomically(folder_ + "/out", lines));
    artifacts_ = {{"out", Sha256Hex(lines)}};
    Load({});
    TopKWriter writer(
        folder_ + "/out.top_k",
        {.k = 4,
         .policy = kTestPolicy,
         .vocabulary_sha256 = VocabularyDigest(policy_->tokenizer()),
         .traces_sha256 = artifacts_.at("out")},
        [this](const std::vector<TokenizedTrace>& traces) { return policy_->TopLogprobs(traces, 4); },
        [] { return absl::OkStatus(); });
    ASSERT_OK_AND_ASSIGN(const auto written, run_->files.OpenData("written"));
    for (int64_t i = 0; i < written->size(); ++i)
      ASSERT_OK(writer.Add(TokenizeTrace(written->At(i), policy_->tokenizer(), kEos).value()));
    ASSERT_OK(writer.Finish());
  }

  static RolloutPlan Rollouts(int64_t prompts_per_step) {
    RolloutPlan plan{.rewards = "rules", .prompts_per_step = prompts_per_step, .group_size = 2, .sampling = {}};
    plan.sampling.max_new_tokens = 8;
    return plan;
  }

  std::string Text(const std::vector<uint32_t>& ids) const { return policy_->tokenizer().Decode(ids); }

  // Borrowed by the source; in the order of construction.
  struct RunParts {
    RunParts(LoadedConfig loaded_config, const std::string& folder, std::map<std::string, std::string> artifacts)
        : loaded(std::move(loaded_config)),
          files(loaded.config, folder, loaded.data_sha256, std::move(artifacts)),
          metrics(*MetricsLog::Open(folder + "/metrics.jsonl", {}, name, 0)),
          completions(*CompletionsLog::Open(folder + "/completions.sqlite", {name})),
          quarantine(*QuarantineLog::Open(folder + "/quarantine.jsonl", /*resume=*/false)) {}

    const std::string name = "s";
    const LoadedConfig loaded;
    const RunFiles files;
    const std::unique_ptr<MetricsLog> metrics;
    const std::unique_ptr<CompletionsLog> completions;
    const std::unique_ptr<QuarantineLog> quarantine;
    const FakeClock clock;
    Coordinator coordinator{loaded.config.coordinator, {.run_id = "r", .config_sha256 = "c", .epoch = 1}, clock};
    StatusBoard board{v1::RunStatus(), &coordinator, clock};
    RunControl control{&board};
    FakeModels models{loaded.config, &coordinator, FakeWeights{.number = 3}};
    NoSaver saver;
    SpendingLog spending{files.run_dir() + "/spending.json", /*resume=*/false, clock};
    StageContext context{name,
                         loaded.config,
                         clock,
                         models,
                         {loaded.config.coordinator, coordinator, *quarantine, board, control},
                         board,
                         {*metrics, *completions},
                         files,
                         saver,
                         spending};
  };

  const std::string folder_ = ::testing::TempDir() + "/step_source_test";
  // SHA-256 of what stages have written.
  std::map<std::string, std::string> artifacts_;
  std::unique_ptr<RunParts> run_;
  StagePolicy* policy_ = nullptr;
  std::unique_ptr<FakeWorker> worker_;
};

// --- Rows of documents ---

TEST_F(StepSourceTest, ARowIsFullAndDocumentsAreKeptApart) {
  ASSERT_OK_AND_ASSIGN(const auto source, Make("corpus", CorpusPlan{.rows_per_step = 4, .row_tokens = 200}));
  const CorpusInput input = Next<CorpusInput>(*source);
  ASSERT_THAT(input.rows, SizeIs(4));
  for (const std::vector<uint32_t>& row : input.rows) {
    EXPECT_THAT(row, SizeIs(201)) << "a target more than there are predictions";
    EXPECT_GE(std::count(row.begin(), row.end(), kEos), 2) << "documents are shorter than the row";
    EXPECT_NE(row.front(), kEos);
  }
  EXPECT_NE(input.rows[0], input.rows[1]);
}

// The first document of the next row is a whole one: what did not fit is dropped, so that the position alone is the
// state.
TEST_F(StepSourceTest, ARowBeginsWithADocumentsBeginning) {
  ASSERT_OK_AND_ASSIGN(const auto source, Make("corpus", CorpusPlan{.rows_per_step = 1, .row_tokens = 10}));
  Next<CorpusInput>(*source);
  const int64_t position = source->data_position();
  const std::vector<uint32_t> second = Next<CorpusInput>(*source, 1).rows[0];
  ASSERT_OK_AND_ASSIGN(const auto from_there,
                       Make("corpus", CorpusPlan{.rows_per_step = 1, .row_tokens = 10}, position));
  EXPECT_EQ(Next<CorpusInput>(*from_there, 1).rows[0], second);
}

// docs/design.md law 7, for each kind of input.
TEST_F(StepSourceTest, ASourceThatGoesOnAtItsPositionReadsWhatAnUndisturbedOneDoes) {
  const auto same = [this](const std::string& data, const StepPlan& plan, auto fingerprint) {
    ASSERT_OK_AND_ASSIGN(const auto undisturbed, Make(data, plan));
    for (int64_t step = 0; step < 5; ++step) {
      const int64_t before = undisturbed->data_position();
      const auto expected = fingerprint(*undisturbed, step);
      ASSERT_OK_AND_ASSIGN(const auto resumed, Make(data, plan, before));
      EXPECT_EQ(resumed->data_position(), before);
      EXPECT_EQ(fingerprint(*resumed, step), expected) << data << " step " << step;
      EXPECT_EQ(resumed->data_position(), undisturbed->data_position());
      EXPECT_GT(undisturbed->data_position(), before);
    }
  };
  same("corpus", CorpusPlan{.rows_per_step = 2, .row_tokens = 64},
       [](StepSource& source, int64_t step) { return Next<CorpusInput>(source, step).rows; });
  // Five traces, three a step: epochs end inside of steps.
  same("traces", TracesPlan{.traces_per_step = 3}, [](StepSource& source, int64_t step) {
    std::vector<std::vector<uint32_t>> ids;
    for (const TokenizedTrace& trace : Next<TracesInput>(source, step).traces) {
      ids.push_back(trace.prompt_ids);
      ids.push_back(trace.completion_ids);
    }
    return ids;
  });
}

// The order is the stage's own: two stages on the same data do not learn the same in the same order.
TEST_F(StepSourceTest, TheOrderFollowsFromTheRunsSeedAndTheStagesName) {
  const auto prompts = [this] {
    const auto source = *Make("traces", TracesPlan{.traces_per_step = 25});
    std::string texts;
    for (const TokenizedTrace& trace : Next<TracesInput>(*source).traces)
      absl::StrAppend(&texts, Text(trace.prompt_ids), " ");
    return texts;
  };
  const std::string first = prompts();
  EXPECT_EQ(prompts(), first);
  Load({"run.seed=6"});
  EXPECT_NE(prompts(), first);
}

// --- Traces ---

TEST_F(StepSourceTest, ATraceIsItsPromptAndItsCompletionWithAnEnd) {
  WriteTraces({{"H35", "12"}});
  ASSERT_OK_AND_ASSIGN(const auto source, Make("traces", TracesPlan{.traces_per_step = 1}));
  const TracesInput input = Next<TracesInput>(*source);
  ASSERT_THAT(input.traces, SizeIs(1));
  EXPECT_EQ(Text(input.traces[0].prompt_ids), "H35");
  std::vector<uint32_t> completion = input.traces[0].completion_ids;
  ASSERT_THAT(completion, SizeIs(3));
  EXPECT_EQ(completion.back(), kEos);
  completion.pop_back();
  EXPECT_EQ(Text(completion), "12");
}

// Asked before the first step (trainer/preflight.h), where the policy's tokenizer is there and its weights are not.
TEST_F(StepSourceTest, ATraceWithoutACompletionIsRefused) {
  DataItem item;
  item.prompt.set_id("line/2");
  item.prompt.set_text("H2");
  EXPECT_STATUS(TokenizeTrace(item, policy_->tokenizer(), 0), kInvalid,
                "line/2 has no completion to learn from: set completion_field if it has another name");
}

TEST_F(StepSourceTest, ATraceThatThePolicyCannotReadIsNamedWithItsPart) {
  DataItem item;
  item.prompt.set_id("line/2");
  item.prompt.set_text("\xc3\xa4");
  item.completion = "1";
  EXPECT_STATUS(TokenizeTrace(item, policy_->tokenizer(), 0), kInvalid, "the prompt of line/2");
  item.prompt.set_text("H1");
  item.completion = "\xe2\x88\x9a";
  EXPECT_STATUS(TokenizeTrace(item, policy_->tokenizer(), 0), kInvalid, "the completion of line/2");
}

// --- Traces with what was stored of the teacher ---

TEST_F(StepSourceTest, EachTraceBringsTheTopKThatWasStoredOfItsOwnTokens) {
  WriteStored();
  ASSERT_OK_AND_ASSIGN(const auto source, Make("written", TracesPlan{.traces_per_step = 7, .stored_top_k = 3}));
  // Two epochs, in orders of their own, and a source that goes on in the middle.
  for (int64_t step = 0; step < 2; ++step) {
    const int64_t position = source->data_position();
    const TracesInput input = Next<TracesInput>(*source, step);
    ASSERT_THAT(input.traces, SizeIs(7));
    for (const TokenizedTrace& trace : input.traces) {
      const TopK expected = policy_->TopLogprobs({trace}, 3).value().at(0);
      EXPECT_EQ(trace.top_ids, expected.ids);
      ASSERT_EQ(trace.top_logprobs.size(), expected.logprobs.size());
      for (size_t i = 0; i < expected.logprobs.size(); ++i)
        EXPECT_NEAR(trace.top_logprobs[i], expected.logprobs[i], 1e-3);
    }
    ASSERT_OK_AND_ASSIGN(const auto resumed,
                         Make("written", TracesPlan{.traces_per_step = 7, .stored_top_k = 3}, position));
    const TracesInput same = Next<TracesInput>(*resumed, step);
    for (size_t i = 0; i < 7; ++i) EXPECT_EQ(same.traces[i].top_ids, input.traces[i].top_ids);
  }
  // In the same order as without, and without it nothing.
  ASSERT_OK_AND_ASSIGN(const auto with, Make("written", TracesPlan{.traces_per_step = 5, .stored_top_k = 3}));
  ASSERT_OK_AND_ASSIGN(const auto without, Make("written", TracesPlan{.traces_per_step = 5}));
  const TracesInput stored = Next<TracesInput>(*with), plain = Next<TracesInput>(*without);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(plain.traces[i].completion_ids, stored.traces[i].completion_ids);
    EXPECT_TRUE(plain.traces[i].top_ids.empty());
  }
}

TEST_F(StepSourceTest, StoredTopKThatIsNotThereOrNotOfTheseTracesIsRefused) {
  const TracesPlan plan{.traces_per_step = 1, .stored_top_k = 3};
  EXPECT_STATUS(Make("traces", plan), kInvalid, "data.traces has no teacher's top-k beside it");
  WriteStored();
  EXPECT_STATUS(Make("written", TracesPlan{.traces_per_step = 1, .stored_top_k = 5}), kInvalid,
                "holds the 4 likeliest tokens, and 5 are asked for");
  // Read with another prompt than the teacher's.
  Load({"data.written.template=Q:{problem}"});
  ASSERT_OK_AND_ASSIGN(const auto other, Make("written", plan));
  EXPECT_STATUS(other->Next(0, [] { return absl::OkStatus(); }), kInvalid, "without another template");
  // Other traces, as a stage that was run again without teacher_top_k leaves them.
  const std::string lines = "{\"problem\": \"H1\", \"completion\": \"2\", \"answer\": \"1\"}\n";
  ASSERT_OK(WriteFileAtomically(folder_ + "/out", lines));
  artifacts_ = {{"out", Sha256Hex(lines)}};
  Load({});
  EXPECT_STATUS(Make("written", plan), absl::StatusCode::kDataLoss, "holds the top-k of other traces");
  std::filesystem::remove_all(folder_ + "/out.top_k");
  EXPECT_STATUS(Make("written", plan), absl::StatusCode::kNotFound, "run the synthesize stage again");
}

// --- Groups ---

TEST_F(StepSourceTest, AStepsGroupsAreSampledFromTheWeightsThatItWillChange) {
  worker_ = std::make_unique<FakeWorker>(&run_->coordinator, nullptr);
  ASSERT_OK_AND_ASSIGN(const auto source, Make("problems", Rollouts(3)));
  ASSERT_EQ(run_->coordinator.Weights(policy_->ref()).status().code(), absl::StatusCode::kNotFound);
  const RolloutInput input = Next<RolloutInput>(*source, /*step=*/4);
  EXPECT_OK(run_->coordinator.Weights(policy_->ref()));
  EXPECT_EQ(run_->board.Snapshot().policy().number(), 3) << "shown as the policy at work";
  EXPECT_EQ(source->data_position(), 3);
  std::vector<int64_t> indices;
  for (const ScoredGroup& group : input.groups) {
    indices.push_back(group.lease.key().group_index());
    EXPECT_EQ(group.lease.key().stage(), "s");
    EXPECT_EQ(group.lease.kind(), v1::LEASE_KIND_TRAIN);
    EXPECT_EQ(group.lease.policy().number(), 3);
    EXPECT_EQ(group.lease.reward().name(), "rules");
    EXPECT_FALSE(group.lease.reward().sha256().empty()) << "a reward server with other rules refuses";
    EXPECT_EQ(group.lease.seed(), GroupSeed(5, "s", group.lease.key().group_index()));
    EXPECT_EQ(group.lease.sampling().num_completions(), 2);
    EXPECT_EQ(group.lease.sampling().max_new_tokens(), 8);
    EXPECT_THAT(group.completions, SizeIs(2));
  }
  EXPECT_THAT(indices, ElementsAre(12, 13, 14)) << "step 4 of 3 prompts each";
}

TEST_F(StepSourceTest, AQuarantinedGroupIsMissingAndItsProblemIsNotAskedAgain) {
  run_->coordinator.Quarantine("s", 1);
  worker_ = std::make_unique<FakeWorker>(&run_->coordinator, nullptr);
  ASSERT_OK_AND_ASSIGN(const auto source, Make("problems", Rollouts(3)));
  std::vector<int64_t> indices;
  for (const ScoredGroup& group : Next<RolloutInput>(*source).groups)
    indices.push_back(group.lease.key().group_index());
  EXPECT_THAT(indices, ElementsAre(0, 2));
  EXPECT_EQ(source->data_position(), 3);
}

// A stop, or a pause that ends the run, is heard while nobody samples.
TEST_F(StepSourceTest, AnErrorOfThePollEndsTheWaitForGroups) {
  ASSERT_OK_AND_ASSIGN(const auto source, Make("problems", Rollouts(3)));
  int polls = 0;
  const auto stop_at_the_second = [&] { return ++polls < 2 ? absl::OkStatus() : absl::AbortedError("stop"); };
  EXPECT_STATUS(source->Next(0, stop_at_the_second), absl::StatusCode::kAborted, "stop");
  EXPECT_EQ(polls, 2);
}

// --- What the data must be ---

TEST_F(StepSourceTest, DataThatChangedSinceTheRunBeganIsRefused) {
  ASSERT_OK(Make("traces", TracesPlan{.traces_per_step = 1}));
  ASSERT_OK(WriteFileAtomically(folder_ + "/config/traces.jsonl", "{\"problem\": \"H1\", \"completion\": \"1\"}\n"));
  EXPECT_STATUS(Make("traces", TracesPlan{.traces_per_step = 1}), absl::StatusCode::kDataLoss, "traces");
}

}  // namespace
}  // namespace grpo
