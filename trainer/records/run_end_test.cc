#include "trainer/records/run_end.h"

#include <filesystem>
#include <memory>
#include <string>

#include "common/files.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;

class RunEndTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(dir_);
    ASSERT_OK(MakeFolders(dir_));
  }
  static v1::RunStatus Failed() {
    v1::RunStatus status;
    status.set_state(v1::RUN_STATE_FAILED);
    status.set_state_reason("stage tune: the disk is full");
    status.set_stage_index(1);
    status.add_stages()->set_name("base");
    v1::StageStatus* stage = status.add_stages();
    stage->set_name("tune");
    stage->set_step(12);
    stage->set_num_steps(40);
    return status;
  }

  const std::string dir_ =
      ::testing::TempDir() + "/run_end_" + ::testing::UnitTest::GetInstance()->current_test_info()->name();
};

TEST_F(RunEndTest, IsReadAsItWasWrittenUntilTheRunGoesOn) {
  RecordRunEnd(/*guard=*/nullptr, dir_, Failed());
  ASSERT_OK_AND_ASSIGN(const RunEnd end, ReadRunEnd(dir_));
  EXPECT_EQ(end.state, "FAILED");
  EXPECT_EQ(end.reason, "stage tune: the disk is full");
  EXPECT_EQ(end.stage, "tune");
  EXPECT_EQ(end.step, 12);
  EXPECT_EQ(end.num_steps, 40);
  RemoveRunEnd(dir_);
  RemoveRunEnd(dir_);
  EXPECT_STATUS(ReadRunEnd(dir_), absl::StatusCode::kNotFound, "ended.json");
}

TEST_F(RunEndTest, OfARunWithoutStagesNamesNone) {
  v1::RunStatus status;
  status.set_state(v1::RUN_STATE_STOPPED);
  RecordRunEnd(/*guard=*/nullptr, dir_, status);
  ASSERT_OK_AND_ASSIGN(const RunEnd end, ReadRunEnd(dir_));
  EXPECT_EQ(end.state, "STOPPED");
  EXPECT_EQ(end.stage, "");
}

TEST_F(RunEndTest, WhoHasLostTheFolderWritesNone) {
  const std::string other_dir = dir_ + "/run";
  ASSERT_OK_AND_ASSIGN(const auto guard, RunGuard::Enter({.run_dir = other_dir, .run_id = "a", .resolved_yaml = ""}));
  fs::remove_all(other_dir);
  ASSERT_OK_AND_ASSIGN(const auto other, RunGuard::Enter({.run_dir = other_dir, .run_id = "b", .resolved_yaml = ""}));
  RecordRunEnd(guard.get(), other_dir, Failed());
  EXPECT_FALSE(fs::exists(RunEndPath(other_dir)));
}

TEST_F(RunEndTest, WhatIsNoSuchFileIsSaid) {
  for (const char* text : {"", "[]", "{}", "{\"state\":5}", "nonsense"}) {
    ASSERT_OK(WriteFileSynced(RunEndPath(dir_), text));
    EXPECT_STATUS(ReadRunEnd(dir_), absl::StatusCode::kDataLoss, "ended.json");
  }
  ASSERT_OK(WriteFileSynced(RunEndPath(dir_), R"({"state":"FAILED","step":"x","stage":[],"more":1})"));
  ASSERT_OK_AND_ASSIGN(const RunEnd end, ReadRunEnd(dir_));
  EXPECT_EQ(end.step, 0);
}

}  // namespace
}  // namespace grpo
