#include "trainer/records/run_guard.h"

#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "common/files.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class RunGuardTest : public ::testing::Test {
 protected:
  RunGuardTest() { fs::remove_all(dir_); }

  RunGuard::Entry Entry(bool resume = false, int lock_fd = -1) const {
    return {.run_dir = dir_, .run_id = "run-1", .resolved_yaml = "run: {}\n", .lock_fd = lock_fd, .resume = resume};
  }

  const std::string dir_ =
      ::testing::TempDir() + "/guard_" + ::testing::UnitTest::GetInstance()->current_test_info()->name();
};

TEST_F(RunGuardTest, ARunIsRefusedInTheFolderOfAnother) {
  ASSERT_OK_AND_ASSIGN(const auto guard, RunGuard::Enter(Entry()));
  for (const bool resume : {false, true})
    EXPECT_STATUS(RunGuard::Enter(Entry(resume)), absl::StatusCode::kAlreadyExists, "run run-1): watch it with");
  EXPECT_TRUE(guard->IsOurs());
}

TEST_F(RunGuardTest, ASupervisorsLockIsTheTrainersToo) {
  ASSERT_OK_AND_ASSIGN(const auto lock, RunLock::Take(dir_, "run-1"));
  ASSERT_OK_AND_ASSIGN(const auto guard, RunGuard::Enter(Entry(/*resume=*/false, ::dup(lock->fd()))));
  EXPECT_OK(guard->Check());
}

TEST_F(RunGuardTest, AFolderThatHoldsARunIsRefusedUnlessItIsGoneOnWith) {
  for (const char* record : {"checkpoints", "metrics.jsonl", "completions.sqlite", "summary.json", "data.json"}) {
    ASSERT_OK(MakeFolders(dir_));
    // What whoever starts a trainer puts there.
    ASSERT_OK(WriteFileSynced(dir_ + "/config.yaml", ""));
    EXPECT_OK(RunGuard::Enter(Entry()));
    ASSERT_OK(WriteFileSynced(dir_ + "/" + record, ""));
    EXPECT_STATUS(RunGuard::Enter(Entry()), absl::StatusCode::kAlreadyExists, "go on with it with --resume");
    EXPECT_STATUS(RunGuard::Enter(Entry()), absl::StatusCode::kAlreadyExists, record);
    EXPECT_OK(RunGuard::Enter(Entry(/*resume=*/true)));
    fs::remove_all(dir_);
  }
}

TEST_F(RunGuardTest, ADeletedFolderIsMadeWholeAndSaid) {
  ASSERT_OK_AND_ASSIGN(const auto guard, RunGuard::Enter(Entry()));
  std::vector<std::string> alarms;
  int num_begun_anew = 0;
  guard->OnAlarm([&](const std::string& text) { alarms.push_back(text); });
  guard->OnBegunAnew([&] {
    ++num_begun_anew;
    return absl::OkStatus();
  });
  EXPECT_OK(guard->Check());
  EXPECT_TRUE(alarms.empty());
  fs::remove_all(dir_);
  for (int i = 0; i < 2; ++i) EXPECT_OK(guard->Check());
  EXPECT_EQ(num_begun_anew, 1);
  EXPECT_EQ(*ReadFile(dir_ + "/config.yaml"), "run: {}\n");
  EXPECT_EQ(*ReadFile(dir_ + "/run_id"), "run-1\n");
  EXPECT_TRUE(fs::is_directory(dir_ + "/logs"));
  guard->Alarm("something else");
  ASSERT_EQ(alarms.size(), 2u);
  EXPECT_THAT(alarms[0], HasSubstr("was deleted or moved away while the run was going on"));
  EXPECT_EQ(alarms[1], alarms[0] + "; something else");
}

TEST_F(RunGuardTest, AFolderThatCannotBeMadeWholeIsAnErrorUntilItCan) {
  ASSERT_OK_AND_ASSIGN(const auto guard, RunGuard::Enter(Entry()));
  fs::remove_all(dir_);
  bool works = false;
  guard->OnBegunAnew([&] { return works ? absl::OkStatus() : absl::ResourceExhaustedError("no space"); });
  for (int i = 0; i < 2; ++i) EXPECT_STATUS(guard->Check(), absl::StatusCode::kResourceExhausted, "no space");
  works = true;
  EXPECT_OK(guard->Check());
}

TEST_F(RunGuardTest, WritersWithoutAGuardMayWrite) {
  EXPECT_OK(MayWrite(nullptr));
  RaiseAlarm(nullptr, "for the log");
}

}  // namespace
}  // namespace grpo
