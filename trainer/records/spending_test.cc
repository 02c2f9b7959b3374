#include "trainer/records/spending.h"

#include <unistd.h>

#include <filesystem>
#include <string>

#include "common/files.h"
#include "common/status_testing.h"

namespace grpo {
namespace {

class SpendingLogTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(folder_);
    ASSERT_OK(MakeFolders(folder_));
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  const std::string folder_ = ::testing::TempDir() + "/spending_test." + std::to_string(::getpid());
  const std::string path_ = folder_ + "/spending.json";
  FakeClock clock_;
};

TEST_F(SpendingLogTest, AddsUpWhatAStageTakes) {
  SpendingLog log(path_, /*resume=*/false, clock_);
  log.Begin("learn");
  log.AddTokens(10);
  clock_.Advance(absl::Seconds(3));
  log.AddTokens(5);
  log.AddUsd(0.25);
  log.AddUsd(0.5);
  const Spent spent = log.End();
  EXPECT_EQ(spent.starts, 1);
  EXPECT_EQ(spent.seconds, 3);
  EXPECT_EQ(spent.tokens, 15);
  EXPECT_EQ(spent.usd, 0.75);
  log.Begin("next");
  EXPECT_EQ(log.End().tokens, 0) << "each stage has its own";
}

// A kill may come right behind a checkpoint, and what that holds is not done again.
TEST_F(SpendingLogTest, WhatACheckpointHoldsIsNeverMissing) {
  {
    SpendingLog killed(path_, /*resume=*/false, clock_);
    killed.Begin("learn");
    killed.AddTokens(100);
    clock_.Advance(SpendingLog::kInterval / 2);
    killed.Save();
  }
  SpendingLog log(path_, /*resume=*/true, clock_);
  log.Begin("learn");
  const Spent spent = log.End();
  EXPECT_EQ(spent.tokens, 100);
  EXPECT_EQ(spent.seconds, absl::ToDoubleSeconds(SpendingLog::kInterval / 2));
}

// The first start is killed: nothing of it is written but what Tick wrote.
TEST_F(SpendingLogTest, WhatAKilledStartTookCountsOn) {
  {
    SpendingLog killed(path_, /*resume=*/false, clock_);
    killed.Begin("learn");
    clock_.Advance(absl::Seconds(7));
    killed.AddTokens(100);
    // Lost: less than the interval ago.
    clock_.Advance(SpendingLog::kInterval / 2);
    killed.AddTokens(1);
  }
  SpendingLog log(path_, /*resume=*/true, clock_);
  log.Begin("learn", /*seconds_before=*/1);
  clock_.Advance(absl::Seconds(2));
  log.AddTokens(40);
  const Spent spent = log.End();
  EXPECT_EQ(spent.starts, 2);
  EXPECT_EQ(spent.seconds, 9);
  EXPECT_EQ(spent.tokens, 140);
}

TEST_F(SpendingLogTest, ARunThatBeganWithoutTheFileHasItsCheckpointsSeconds) {
  SpendingLog log(path_, /*resume=*/true, clock_);
  log.Begin("learn", /*seconds_before=*/12.5);
  const Spent spent = log.End();
  EXPECT_EQ(spent.starts, 2);
  EXPECT_EQ(spent.seconds, 12.5);
}

TEST_F(SpendingLogTest, ANewRunForgetsWhatLiesThere) {
  {
    SpendingLog old(path_, /*resume=*/false, clock_);
    old.Begin("learn");
    old.AddTokens(9);
    old.End();
  }
  SpendingLog log(path_, /*resume=*/false, clock_);
  log.Begin("learn");
  EXPECT_EQ(log.End().tokens, 0);
}

TEST_F(SpendingLogTest, AFileThatIsBrokenOrCannotBeWrittenEndsNothing) {
  ASSERT_OK(WriteFileAtomically(path_, "{\"stages\": {\"learn\": {\"starts\": \"two\"}}}"));
  SpendingLog broken(path_, /*resume=*/true, clock_);
  broken.Begin("learn");
  EXPECT_EQ(broken.End().starts, 1);
  SpendingLog nowhere(folder_ + "/no/such/folder.json", /*resume=*/false, clock_);
  nowhere.Begin("learn");
  nowhere.AddTokens(3);
  EXPECT_EQ(nowhere.End().tokens, 3);
}

}  // namespace
}  // namespace grpo
