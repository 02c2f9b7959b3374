#include "trainer/records/run_records.h"

#include <filesystem>
#include <memory>
#include <string>

#include "common/files.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

class RunRecordsTest : public ::testing::Test {
 protected:
  void SetUp() override { fs::remove_all(dir_); }

  void Enter() {
    alarms_.clear();
    ASSERT_OK_AND_ASSIGN(guard_,
                         RunGuard::Enter({.run_dir = dir_, .run_id = "run-1", .resolved_yaml = "", .resume = true}));
    guard_->OnAlarm([this](const std::string& alarms) { alarms_ = alarms; });
  }
  absl::StatusOr<RunRecords> Open(int64_t step) {
    return OpenRunRecords(dir_, {.resume = step > 0, .stages_done = {}, .stage = "tune", .step = step}, guard_.get(),
                          Clock::Real());
  }

  const std::string dir_ =
      ::testing::TempDir() + "/records_" + ::testing::UnitTest::GetInstance()->current_test_info()->name();
  std::unique_ptr<RunGuard> guard_;
  std::string alarms_;
};

TEST_F(RunRecordsTest, WhatIsMissingWhenARunGoesOnIsAnAlarm) {
  for (const char* name : {"metrics.jsonl", "completions.sqlite", "spending.json"}) {
    guard_.reset();
    fs::remove_all(dir_);
    Enter();
    for (const int64_t step : {0, 54}) {
      ASSERT_OK_AND_ASSIGN(const RunRecords records, Open(step));
      records.spending->Begin("tune");
    }
    EXPECT_EQ(alarms_, "") << "nothing was missing";
    fs::remove(dir_ + "/" + name);
    ASSERT_OK(Open(/*step=*/54));
    EXPECT_THAT(alarms_, HasSubstr(std::string(name) + " was missing when the run went on; it is begun anew"));
  }
}

TEST_F(RunRecordsTest, WhoHasLostTheFolderWritesNothingMore) {
  Enter();
  ASSERT_OK_AND_ASSIGN(const RunRecords records, Open(/*step=*/0));
  fs::remove_all(dir_);
  ASSERT_OK_AND_ASSIGN(const auto other, RunGuard::Enter({.run_dir = dir_, .run_id = "run-2", .resolved_yaml = ""}));
  records.metrics->Append("tune", 1, {{"loss", 1}});
  records.completions->Append("tune", 1, {ScoredGroup()});
  records.completions->Rewind("tune", 0);
  records.spending->Begin("tune");
  EXPECT_STATUS(records.quarantine->Append({}), absl::StatusCode::kFailedPrecondition, "run run-2");
  for (const fs::directory_entry& entry : fs::directory_iterator(dir_)) EXPECT_EQ(entry.path().filename(), "lock");
}

TEST_F(RunRecordsTest, ADeletedFolderIsBegunAnewByWhicheverWritesFirst) {
  Enter();
  ASSERT_OK_AND_ASSIGN(const RunRecords records, Open(/*step=*/0));
  records.metrics->Append("tune", 1, {{"loss", 1}});
  fs::remove_all(dir_);
  records.completions->Append("tune", 2, {ScoredGroup()});
  records.metrics->Append("tune", 2, {{"loss", 1}});
  EXPECT_THAT(*ReadFile(dir_ + "/metrics.jsonl"), AllOf(HasSubstr("\"step\":2"), HasSubstr("\"note\"")));
  EXPECT_TRUE(fs::exists(dir_ + "/completions.sqlite"));
  EXPECT_THAT(alarms_, AllOf(HasSubstr(dir_ + " or the lock in it was deleted"), HasSubstr("completions.sqlite was"),
                             HasSubstr("metrics.jsonl was deleted")));
}

}  // namespace
}  // namespace grpo
