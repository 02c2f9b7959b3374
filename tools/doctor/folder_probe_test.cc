#include "tools/doctor/folder_probe.h"

#include <ctime>
#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/status_testing.h"
#include "gtest/gtest.h"

namespace grpo {
namespace {

class FolderProbeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(folder_);
    ASSERT_OK(MakeFolders(folder_));
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  const std::string folder_ =
      absl::StrCat(::testing::TempDir(), "/probe_", ::testing::UnitTest::GetInstance()->current_test_info()->name());
};

// Where tests run is a file system that runs can be on.
TEST_F(FolderProbeTest, WhatRunsRelyOnHoldsHere) {
  EXPECT_OK(ProbeRename(folder_));
  EXPECT_OK(ProbeAppend(folder_));
  EXPECT_OK(ProbeVisibility(folder_));
  ASSERT_OK_AND_ASSIGN(const absl::Duration sync, ProbeSync(folder_));
  EXPECT_GE(sync, absl::ZeroDuration());
  ASSERT_OK_AND_ASSIGN(const Locking locking, ProbeLock(folder_));
  EXPECT_NE(locking, Locking::kDoesNotHold);
}

TEST_F(FolderProbeTest, AClockThatIsAheadOrBehindIsMeasuredByANewFilesTime) {
  const absl::Time now = absl::FromTimeT(std::time(nullptr));
  ASSERT_OK_AND_ASSIGN(const absl::Duration ahead, ProbeClock(folder_, now - absl::Hours(2)));
  EXPECT_GT(ahead, absl::Hours(1));
  ASSERT_OK_AND_ASSIGN(const absl::Duration behind, ProbeClock(folder_, now + absl::Hours(2)));
  EXPECT_LT(behind, -absl::Hours(1));
}

TEST_F(FolderProbeTest, AFolderThatIsNotThereIsAnErrorOfEachProbe) {
  const std::string nowhere = folder_ + "/nowhere";
  for (const absl::Status& status :
       {ProbeRename(nowhere), ProbeSync(nowhere).status(), ProbeAppend(nowhere), ProbeVisibility(nowhere),
        ProbeLock(nowhere).status(), ProbeClock(nowhere, absl::UnixEpoch()).status()}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << status;
  }
}

}  // namespace
}  // namespace grpo
