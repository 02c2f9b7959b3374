// A run from its start to its end in one process: a tiny policy that really learns, and workers that pretend to sample.
#include "trainer/run.h"

#include <filesystem>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/files.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "trainer/stage/testing.h"

namespace grpo {
namespace {

using nlohmann::json;

constexpr char kStages[] =
    R"(  - {name: learn, type: train, algorithm: pretrain, policy: model, data: corpus, steps: 5, rows_per_step: 2, row_tokens: 16, export_to: out}
  - {name: again, type: train, algorithm: sft, policy: model, data: traces, steps: 4, traces_per_step: 2}
)";

class RunTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(folder_);
    ASSERT_OK(Load(kStages));
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  absl::Status Load(const std::string& stages) {
    ASSIGN_OR_RETURN(loaded_, LoadTestConfig(folder_ + "/config", stages));
    return absl::OkStatus();
  }

  absl::Status ReplaceTraces(const std::string& lines) {
    RETURN_IF_ERROR(WriteFileAtomically(folder_ + "/config/traces.jsonl", lines));
    ASSIGN_OR_RETURN(loaded_, LoadRunConfig(folder_ + "/config/run.yaml"));
    return absl::OkStatus();
  }

  absl::Status Execute(const std::string& run, bool resume = false, RunSurroundings surroundings = {}) {
    RunArguments arguments;
    arguments.config = loaded_;
    arguments.run_dir = absl::StrCat(folder_, "/", run);
    arguments.run_id = "test";
    arguments.resume = resume;
    surroundings.farewell = absl::ZeroDuration();
    const auto alone = Collectives::SingleRank();
    return ExecuteRun(std::move(arguments), alone.get(), surroundings);
  }

  json Summary(const std::string& run) const {
    return json::parse(ReadFile(absl::StrCat(folder_, "/", run, "/summary.json")).value());
  }
  // The hashes of every step: token ids and weights.
  std::string Hashes(const std::string& run) const {
    std::string hashes;
    for (const absl::string_view line :
         absl::StrSplit(ReadFile(absl::StrCat(folder_, "/", run, "/metrics.jsonl")).value(), '\n', absl::SkipEmpty())) {
      const json record = json::parse(line);
      absl::StrAppend(&hashes, record.at("stage").get<std::string>(), " ", record.at("step").get<int64_t>(), " ",
                      record.at("token_ids_hash").get<std::string>(), " ", record.at("weights_hash").get<std::string>(),
                      "\n");
    }
    return hashes;
  }

  const std::string folder_ = ::testing::TempDir() + "/run_test";
  LoadedConfig loaded_;
};

TEST_F(RunTest, RunsEveryStageAndSaysSoInTheSummary) {
  ASSERT_OK(Execute("run"));
  const json stages = Summary("run").at("stages");
  ASSERT_EQ(stages.size(), 2u);
  EXPECT_EQ(stages[0].at("name"), "learn");
  EXPECT_EQ(stages[0].at("type"), "train");
  EXPECT_EQ(stages[0].at("steps"), 5);
  EXPECT_EQ(stages[1].at("policy_number"), 9);
  EXPECT_EQ(stages[1].at("weights_from"), "learn");
  EXPECT_TRUE(std::filesystem::exists(folder_ + "/run/out/config.json"));
}

TEST_F(RunTest, ARunThatIsStoppedAndResumedEqualsOneThatWasNot) {
  ASSERT_OK(Execute("undisturbed"));
  // Stopped before the first step, saved, and gone on with.
  RunSurroundings stopped;
  stopped.on_serving = [](Coordinator&, RunControl& control) { control.Stop(); };
  EXPECT_OK(Execute("run", /*resume=*/false, stopped));
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/run/summary.json"));
  EXPECT_OK(Execute("run", /*resume=*/true));
  EXPECT_EQ(Hashes("run"), Hashes("undisturbed"));
  // What it took is counted over both starts; nothing had to be done twice.
  const json undisturbed = Summary("undisturbed").at("stages")[0], resumed_stage = Summary("run").at("stages")[0];
  EXPECT_EQ(undisturbed.at("spent").at("starts"), 1);
  EXPECT_EQ(resumed_stage.at("spent").at("starts"), 2);
  EXPECT_GT(undisturbed.at("spent").at("tokens"), 0);
  EXPECT_EQ(resumed_stage.at("spent").at("tokens"), undisturbed.at("spent").at("tokens"));
  // One that has ended ends again, and changes nothing.
  EXPECT_OK(Execute("run", /*resume=*/true));
  EXPECT_EQ(Hashes("run"), Hashes("undisturbed"));
}

TEST_F(RunTest, SecondsAreThoseOfTheClockThatItIsGiven) {
  const FakeClock clock;
  RunSurroundings surroundings{.clock = clock};
  ASSERT_OK(Execute("run", /*resume=*/false, surroundings));
  EXPECT_EQ(Summary("run").at("stages")[0].at("seconds"), 0);
}

TEST_F(RunTest, AnErrorNamesItsStage) {
  ASSERT_OK(Load("  - {name: learn, type: train, algorithm: pretrain, policy: model, data: problems, steps: 5}\n"));
  EXPECT_STATUS(Execute("run"), absl::StatusCode::kInvalidArgument,
                "stage learn: data.problems holds problems, and algorithm pretrain reads documents");
}

// As a user mends what a run was refused for: the first stage has been at work, the file of the second one is another.
TEST_F(RunTest, DataThatNoStageHasReadMayBeMendedBeforeAResume) {
  RunSurroundings stopped;
  stopped.on_serving = [](Coordinator&, RunControl& control) { control.Stop(); };
  ASSERT_OK(Execute("run", /*resume=*/false, stopped));
  ASSERT_OK(ReplaceTraces("{\"problem\": \"H1\", \"completion\": \"7\", \"answer\": \"7\"}\n"));
  ASSERT_OK(Execute("run", /*resume=*/true));
  EXPECT_EQ(Summary("run").at("stages").size(), 2u);
  const json record = json::parse(ReadFile(folder_ + "/run/data.json").value());
  ASSERT_EQ(record.at("changes").size(), 1u);
  EXPECT_EQ(record.at("changes")[0].at("new_sha256"), loaded_.data_sha256.at("traces"));
  EXPECT_EQ(record.at("data").at("traces").at("read_by"), "again");
  // Now it has been read.
  ASSERT_OK(ReplaceTraces("{\"problem\": \"H1\", \"completion\": \"8\", \"answer\": \"8\"}\n"));
  EXPECT_STATUS(Execute("run", /*resume=*/true), absl::StatusCode::kDataLoss, "since stage again read it");
}

TEST_F(RunTest, DataOfABegunStageMayNotChange) {
  ASSERT_OK(Load("  - {name: learn, type: train, algorithm: sft, policy: model, data: traces, steps: 4}\n"));
  RunSurroundings stopped;
  stopped.on_serving = [](Coordinator&, RunControl& control) { control.Stop(); };
  ASSERT_OK(Execute("run", /*resume=*/false, stopped));
  ASSERT_OK(ReplaceTraces("{\"problem\": \"H1\", \"completion\": \"7\", \"answer\": \"7\"}\n"));
  EXPECT_STATUS(Execute("run", /*resume=*/true), absl::StatusCode::kDataLoss, "since stage learn read it");
}

// A fault of the second stage keeps the first one from beginning.
TEST_F(RunTest, ALaterStageIsCheckedBeforeTheFirstStep) {
  ASSERT_OK(ReplaceTraces("{\"problem\": \"H1\", \"completion\": \"Z\", \"answer\": \"7\"}\n"));
  EXPECT_STATUS(Execute("run"), absl::StatusCode::kInvalidArgument,
                "stage again: data.traces: the completion of line/1");
  EXPECT_EQ(Hashes("run"), "");
  ASSERT_OK(ReplaceTraces("{\"problem\": \"H1\", \"completion\": \"7\", \"answer\": \"7\"}\n"));
  EXPECT_OK(Execute("run", /*resume=*/true));
}

TEST_F(RunTest, DataThatAStageWroteIsReadByALaterOne) {
  ASSERT_OK(Load(
      "  - {name: write, type: synthesize, policy: model, data: problems, rewards: rules, problems: 20, export_to: "
      "out}\n"
      "  - {name: learn, type: train, algorithm: sft, policy: model, data: written, steps: 2, traces_per_step: 2}\n"));
  std::unique_ptr<FakeWorker> worker;
  RunSurroundings surroundings;
  surroundings.on_serving = [&](Coordinator& coordinator, RunControl&) {
    worker = std::make_unique<FakeWorker>(&coordinator, nullptr);
  };
  surroundings.on_ended = [&] { worker.reset(); };
  ASSERT_OK(Execute("run", /*resume=*/false, surroundings));
  const json stages = Summary("run").at("stages");
  EXPECT_EQ(stages[1].at("data_artifact"), "out");
  EXPECT_GT(stages[0].at("metrics").at("num_traces"), 0);
}

// Samples, learns from all that was written so far, measures: four times, or until a round gains nothing.
constexpr char kRounds[] = R"(  - repeat:
      name: f
      times: 4
      stages:
        - {name: solve, type: synthesize, policy: model, data: problems, rewards: rules, problems: 12, export_to: out}
        - {name: learn, type: train, algorithm: sft, policy: model, data: all, steps: 3, traces_per_step: 2, export_to: other}
        - {name: measure, type: evaluate, policy: model, data: problems, rewards: rules, problems: 4, samples_per_problem: 2, greedy: false}
      until: {stage: measure, metric: pass_at_1, min_gain: 0.01}
  - {name: final, type: train, algorithm: sft, policy: model, data: traces, steps: 1, traces_per_step: 1, export_to: out}
)";

class RoundsTest : public RunTest {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(folder_);
    ASSERT_OK_AND_ASSIGN(loaded_,
                         LoadTestConfig(folder_ + "/config", kRounds, {"data.all={source: union, of: [written]}"}));
  }

  // Nobody solves what the first round measures, and everybody all that comes later. Stops the run, once, when a sample
  // of the stage `stop_in` is judged.
  absl::Status ExecuteJudged(const std::string& run, bool resume, const std::string& stop_in = "") {
    std::unique_ptr<FakeWorker> worker;
    RunSurroundings surroundings;
    surroundings.on_serving = [&](Coordinator& coordinator, RunControl& control) {
      worker = std::make_unique<FakeWorker>(
          &coordinator, [&control, stop_in](const v1::Lease& lease, v1::ScoredCompletion* sample) {
            const std::string& stage = lease.key().stage();
            if (stage == stop_in) control.Stop();
            if (absl::EndsWith(stage, ".measure"))
              sample->mutable_score()->mutable_rules(0)->set_value(stage == "f.1.measure" ? 0 : 1);
          });
    };
    surroundings.on_ended = [&] { worker.reset(); };
    return Execute(run, resume, surroundings);
  }

  // What does not depend on the clock: each stage's name, reason to be left out, and the figures that judge a policy.
  std::string Table(const std::string& run) const {
    std::string table;
    const json stages = Summary(run).at("stages");
    for (const json& stage : stages) {
      absl::StrAppend(&table, stage.at("name").get<std::string>(), " round ", stage.value("round", 0), " ",
                      stage.value("left_out", ""), " of policy ", stage.at("policy_number").get<int64_t>(), ":");
      for (const char* metric : {"pass_at_1", "num_traces", "loss"}) {
        if (stage.at("metrics").contains(metric)) absl::StrAppend(&table, " ", stage.at("metrics").at(metric).dump());
      }
      absl::StrAppend(&table, "\n");
    }
    return table;
  }
  std::string File(const std::string& path) const { return ReadFile(absl::StrCat(folder_, "/", path)).value_or(""); }
};

TEST_F(RoundsTest, EachRoundHasItsOwnFilesAndTheOnesAfterTheLastGainAreLeftOut) {
  ASSERT_OK(ExecuteJudged("run", /*resume=*/false));
  const json stages = Summary("run").at("stages");
  ASSERT_EQ(stages.size(), 13u);
  for (int i = 0; i < 12; ++i) {
    EXPECT_EQ(stages[i].at("repeat"), "f");
    EXPECT_EQ(stages[i].at("round"), i / 3 + 1);
    // Round 2 gained all, round 3 nothing.
    EXPECT_EQ(stages[i].contains("left_out"), i >= 9) << stages[i];
  }
  EXPECT_THAT(stages[9].at("left_out").get<std::string>(),
              ::testing::HasSubstr("pass_at_1 of f.3.measure is 1, 0 above the round before (1)"));
  // Trained three times and once more: the rounds that were left out changed nothing.
  EXPECT_EQ(stages[12].at("policy_number"), 10);
  EXPECT_EQ(stages[7].at("data_artifact"), "f-1-out f-2-out f-3-out");
  for (const char* round : {"f.1", "f.2", "f.3"}) {
    EXPECT_NE(File(absl::StrCat("run/", round, "/out")), "") << round;
    EXPECT_NE(File(absl::StrCat("run/", round, "/other/model.safetensors")), "") << round;
  }
  EXPECT_NE(File("run/f.1/out"), File("run/f.2/out"));
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/run/f.4"));
}

TEST_F(RoundsTest, ARunThatIsStoppedInAnyRoundDecidesAndEndsAsOneThatWasNot) {
  ASSERT_OK(ExecuteJudged("undisturbed", /*resume=*/false));
  for (const std::string& stop_in : std::vector<std::string>{"f.1.measure", "f.2.solve", "f.3.measure"}) {
    ASSERT_OK(ExecuteJudged(stop_in, /*resume=*/false, stop_in));
    EXPECT_LT(Table(stop_in).size(), Table("undisturbed").size());
    ASSERT_OK(ExecuteJudged(stop_in, /*resume=*/true));
    EXPECT_EQ(Table(stop_in), Table("undisturbed"));
    for (const char* path : {"/f.2/out", "/f.3/out", "/f.3/other/model.safetensors", "/out/model.safetensors"})
      EXPECT_EQ(File(stop_in + path), File(std::string("undisturbed") + path)) << stop_in << path;
  }
  // A run that has ended decides the same once more.
  ASSERT_OK(ExecuteJudged("undisturbed", /*resume=*/true));
  EXPECT_EQ(Table("undisturbed"), Table("f.2.solve"));
}

}  // namespace
}  // namespace grpo
