#include "trainer/resume.h"

#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "common/files.h"
#include "common/log.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "spdlog/sinks/ostream_sink.h"
#include "trainer/checkpoint/snapshot_testing.h"
#include "trainer/checkpoint/store.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kConfig[] =
    "run: {name: r}\n"
    "data: {problems: {source: jsonl, path: problems.jsonl}}\n"
    "rewards: {rules_only: {rules: {math_answer: {weight: 1}}}}\n"
    "policies: {base: {random_init: {tokenizer: tokenizer.json, hidden_size: 4, intermediate_size: 4, num_layers: 1, "
    "num_heads: 1, num_kv_heads: 1}}}\n"
    "stages: [{name: measure, type: evaluate, policy: base, data: problems, rewards: rules_only}]\n";
constexpr char kProblems[] = "{\"problem\": \"1+1?\", \"answer\": \"2\"}\n";

// A run folder with one checkpoint, and what spdlog says.
class LoadCheckpointTest : public ::testing::Test {
 protected:
  LoadCheckpointTest()
      : run_dir_(::testing::TempDir() + "/resume_" + ::testing::UnitTest::GetInstance()->current_test_info()->name()) {
    fs::remove_all(run_dir_);
    fs::create_directories(run_dir_);
    Write("config.yaml", kConfig);
    Write("problems.jsonl", kProblems);
    Write("tokenizer.json", "{}");
    spdlog::set_default_logger(
        std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log_)));
  }

  void Write(const std::string& name, const std::string& content) const {
    std::ofstream(run_dir_ + "/" + name) << content;
  }
  LoadedConfig Config() const {
    const absl::StatusOr<LoadedConfig> config = LoadRunConfig(run_dir_ + "/config.yaml");
    EXPECT_OK(config);
    return config.value_or(LoadedConfig{});
  }
  // On the CPU, or on another kind of device.
  void Save(const std::string& resolved_yaml, const std::string& device = "cpu") {
    Snapshot snapshot = ExampleSnapshot();
    snapshot.resolved_yaml = resolved_yaml;
    snapshot.state.data_sha256 = Config().data_sha256;
    snapshot.state.environment = CurrentEnvironment(/*world_size=*/1);
    snapshot.state.environment.device = device;
    ASSERT_OK_AND_ASSIGN(const CheckpointFiles files, SnapshotToFiles(snapshot));
    ASSERT_OK(CheckpointStore(run_dir_ + "/checkpoints", 2).Save(snapshot.state.sequence, files));
  }
  absl::StatusOr<std::optional<Snapshot>> Load(int64_t world_size = 1) const {
    return LoadCheckpoint(run_dir_, Config(), CurrentEnvironment(world_size));
  }

  const std::string run_dir_;
  std::ostringstream log_;
};

TEST_F(LoadCheckpointTest, GoesOnFromTheNewest) {
  ASSERT_OK_AND_ASSIGN(const auto none, Load());
  EXPECT_FALSE(none.has_value());
  Save(Config().resolved_yaml);
  ASSERT_OK_AND_ASSIGN(const auto snapshot, Load());
  ASSERT_TRUE(snapshot.has_value());
  EXPECT_EQ(snapshot->state.sequence, 40);
  EXPECT_THAT(log_.str(), HasSubstr("resuming from step-000000000040"));
  EXPECT_THAT(log_.str(), Not(HasSubstr("NOT BITWISE")));
}

TEST_F(LoadCheckpointTest, RefusesDataThatAStageHasReadAndNamesBothHashes) {
  const LoadedConfig config = Config();
  ASSERT_OK_AND_ASSIGN(DataRecord record, OpenDataRecord(run_dir_, config, /*resume=*/false, nullptr));
  ASSERT_OK(record.MarkRead({"problems"}, "measure"));
  const std::string before = config.data_sha256.at("problems");
  Write("problems.jsonl", std::string(kProblems) + "{\"problem\": \"2+2?\", \"answer\": \"4\"}\n");
  const std::string now = Config().data_sha256.at("problems");
  const absl::Status status = OpenDataRecord(run_dir_, Config(), /*resume=*/true, nullptr).status();
  EXPECT_STATUS(status, absl::StatusCode::kDataLoss, "data.problems has changed");
  for (const std::string& text : {before, now, std::string("/problems.jsonl)"), std::string("put the old content back"),
                                  std::string("since stage measure read it")})
    EXPECT_THAT(std::string(status.message()), HasSubstr(text));
  Write("problems.jsonl", kProblems);
  EXPECT_OK(OpenDataRecord(run_dir_, Config(), /*resume=*/true, nullptr));
}

TEST_F(LoadCheckpointTest, TakesDataThatNoStageHasReadAndRecordsBothHashes) {
  ASSERT_OK(OpenDataRecord(run_dir_, Config(), /*resume=*/false, nullptr));
  const std::string before = Config().data_sha256.at("problems");
  Write("problems.jsonl", std::string(kProblems) + "{\"problem\": \"2+2?\", \"answer\": \"4\"}\n");
  const std::string now = Config().data_sha256.at("problems");
  ASSERT_OK_AND_ASSIGN(DataRecord record, OpenDataRecord(run_dir_, Config(), /*resume=*/true, nullptr));
  ASSERT_OK_AND_ASSIGN(const std::string text, ReadFile(run_dir_ + "/data.json"));
  EXPECT_THAT(text, HasSubstr("\"old_sha256\": \"" + before));
  EXPECT_THAT(text, HasSubstr("\"new_sha256\": \"" + now));
  EXPECT_THAT(log_.str(), HasSubstr("data.problems HAS CHANGED"));
  // From here on the new content is what a stage reads.
  ASSERT_OK(record.MarkRead({"problems"}, "measure"));
  EXPECT_OK(OpenDataRecord(run_dir_, Config(), /*resume=*/true, nullptr));
  Write("problems.jsonl", kProblems);
  EXPECT_STATUS(OpenDataRecord(run_dir_, Config(), /*resume=*/true, nullptr), absl::StatusCode::kDataLoss, now);
}

// Without data.json every stage up to the checkpoint's counts as begun.
TEST_F(LoadCheckpointTest, RunsOfOlderBuildsAreJudgedByTheirCheckpoint) {
  CheckpointState state;
  state.data_sha256 = Config().data_sha256;
  Write("problems.jsonl", std::string(kProblems) + "{\"problem\": \"2+2?\", \"answer\": \"4\"}\n");
  state.stage_index = 0;
  EXPECT_STATUS(OpenDataRecord(run_dir_, Config(), /*resume=*/true, &state), absl::StatusCode::kDataLoss,
                "since stage measure read it");
}

TEST_F(LoadCheckpointTest, AnotherEnvironmentIsTakenWithALoudLine) {
  Save(Config().resolved_yaml);
  EXPECT_OK(Load(/*world_size=*/4));
  EXPECT_THAT(log_.str(), HasSubstr("NOT BITWISE"));
  EXPECT_THAT(log_.str(), HasSubstr("other circumstances: world size 1, now 4\n"));
}

TEST_F(LoadCheckpointTest, GoesOnOnAnotherKindOfDeviceOnlyWhenThatIsAskedFor) {
  Save(Config().resolved_yaml, "cuda");
  const absl::Status refused = Load().status();
  EXPECT_STATUS(refused, absl::StatusCode::kFailedPrecondition,
                "was saved on cuda, and the trainer now computes on cpu");
  EXPECT_THAT(std::string(refused.message()), HasSubstr("--allow-other-device"));
  EXPECT_OK(LoadCheckpoint(run_dir_, Config(), CurrentEnvironment(/*world_size=*/1), /*allow_other_device=*/true));
  EXPECT_THAT(log_.str(), AllOf(HasSubstr("NOT BITWISE"), HasSubstr("device cuda, now cpu")));
}

TEST_F(LoadCheckpointTest, RefusesAnotherConfiguration) {
  Save(Config().resolved_yaml);
  Write("config.yaml", std::string(kConfig) + "trainer: {threads: 2}\n");
  EXPECT_STATUS(Load(), absl::StatusCode::kInvalidArgument, "another configuration");
}

TEST_F(LoadCheckpointTest, TakesAnotherPlaceToRunAt) {
  Save(Config().resolved_yaml);
  Write("config.yaml", std::string(kConfig) + "launch: {slurm: {partition: long}}\n");
  EXPECT_OK(Load());
}

TEST_F(LoadCheckpointTest, TakesTheSameConfigurationWithoutLaterKeys) {
  // As a build would have resolved it that knew fewer keys.
  std::string old = kConfig;
  for (const char* file : {"problems.jsonl", "tokenizer.json"}) {
    old.replace(old.find(file), std::string(file).size(), run_dir_ + "/" + file);
  }
  Save(old);
  EXPECT_OK(Load());
}

}  // namespace
}  // namespace grpo
