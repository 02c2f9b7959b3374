// A run from its start to its end in one process: a tiny policy that really learns, and workers that pretend to sample.
#include "trainer/run.h"

#include <filesystem>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/files.h"
#include "common/status_testing.h"
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

}  // namespace
}  // namespace grpo
