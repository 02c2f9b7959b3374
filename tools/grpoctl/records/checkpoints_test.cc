#include "tools/grpoctl/records/checkpoints.h"

#include <filesystem>

#include "common/files.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "trainer/checkpoint/state.h"
#include "trainer/checkpoint/store.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class CheckpointsTest : public ::testing::Test {
 protected:
  CheckpointsTest()
      : run_dir_(::testing::TempDir() + "/run_" + ::testing::UnitTest::GetInstance()->current_test_info()->name()) {
    fs::remove_all(run_dir_);
    fs::create_directories(run_dir_);
  }

  void Save(int64_t sequence, const std::string& stage, int64_t step) {
    CheckpointState state;
    state.stage = stage;
    state.stage_index = 1;
    state.progress.step = step;
    CheckpointStore store(run_dir_ + "/checkpoints", 2);
    ASSERT_OK(store.Save(sequence, {{"state.json", StateToJson(state)}, {"weights", std::string(2048, 'w')}}));
  }
  std::string Path(const std::string& name) const { return run_dir_ + "/checkpoints/" + name; }

  const std::string run_dir_;
};

TEST_F(CheckpointsTest, ListsStageStepSizeAndAge) {
  Save(7, "tune", 7);
  Save(14, "", 14);
  ASSERT_OK_AND_ASSIGN(const auto checkpoints, ListCheckpoints(run_dir_));
  ASSERT_EQ(checkpoints.size(), 2);
  EXPECT_EQ(checkpoints[0].name, "step-000000000007");
  EXPECT_EQ(checkpoints[0].stage, "tune");
  EXPECT_EQ(checkpoints[0].step, 7);
  EXPECT_GT(checkpoints[0].size_bytes, 2048);
  EXPECT_LT(checkpoints[0].age_seconds, 600);
  EXPECT_FALSE(checkpoints[0].latest);
  EXPECT_EQ(checkpoints[1].stage, "#2") << "a state of old names no stage";
  EXPECT_TRUE(checkpoints[1].latest);
  EXPECT_THAT(CheckpointsTable(checkpoints), HasSubstr("LATEST"));
  EXPECT_EQ(json::parse(CheckpointsJson(checkpoints))[0]["step"], 7);
}

TEST_F(CheckpointsTest, AStateThatCannotBeReadIsStillListed) {
  Save(7, "tune", 7);
  ASSERT_OK(WriteFileSynced(Path("step-000000000007/state.json"), "{"));
  ASSERT_OK_AND_ASSIGN(const auto checkpoints, ListCheckpoints(run_dir_));
  EXPECT_EQ(checkpoints[0].stage, "?");
  EXPECT_TRUE(json::parse(CheckpointsJson(checkpoints))[0]["step"].is_null());
}

TEST_F(CheckpointsTest, VerifyNamesEachBadFileAndABadLatest) {
  Save(7, "tune", 7);
  Save(14, "tune", 14);
  ASSERT_OK_AND_ASSIGN(auto verified, VerifyCheckpoints(run_dir_, ""));
  EXPECT_TRUE(AllWhole(verified));
  ASSERT_OK(WriteFileSynced(Path("step-000000000014/weights"), "x"));
  fs::remove(Path("step-000000000014/state.json"));
  ASSERT_OK(WriteFileSynced(Path("LATEST"), "step-000000000015\n"));
  ASSERT_OK_AND_ASSIGN(verified, VerifyCheckpoints(run_dir_, ""));
  EXPECT_FALSE(AllWhole(verified));
  ASSERT_EQ(verified.size(), 3);
  EXPECT_THAT(verified[0].problems, ElementsAre());
  EXPECT_THAT(verified[1].problems, ElementsAre(HasSubstr("state.json"), HasSubstr("weights")));
  EXPECT_THAT(verified[2].problems, ElementsAre(HasSubstr("step-000000000015")));
  const std::string table = VerifiedTable(verified);
  for (const char* text : {"step-000000000007  whole", "BROKEN: state.json", "BROKEN: weights", "LATEST"})
    EXPECT_THAT(table, HasSubstr(text));
  EXPECT_EQ(json::parse(VerifiedJson(verified))[1]["problems"].size(), 2);
  ASSERT_OK_AND_ASSIGN(verified, VerifyCheckpoints(run_dir_, "step-000000000007"));
  EXPECT_TRUE(AllWhole(verified));
}

TEST_F(CheckpointsTest, WhereThereIsNoneItSaysSo) {
  EXPECT_STATUS(ListCheckpoints(run_dir_), absl::StatusCode::kNotFound, "no checkpoint in " + run_dir_);
  EXPECT_STATUS(VerifyCheckpoints(run_dir_, ""), absl::StatusCode::kNotFound, "no checkpoint in " + run_dir_);
  EXPECT_STATUS(ListCheckpoints("nowhere"), absl::StatusCode::kNotFound, "no run folder nowhere");
  Save(7, "tune", 7);
  EXPECT_STATUS(VerifyCheckpoints(run_dir_, "step-8"), absl::StatusCode::kNotFound, "no checkpoint step-8");
}

}  // namespace
}  // namespace grpo
