#include "tools/grpoctl/client/log_follower.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include "common/files.h"
#include "common/status_testing.h"

namespace grpo {
namespace {

class LogFollowerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(dir_);
    ASSERT_OK(MakeFolders(dir_));
  }
  void Append(const std::string& name, const std::string& text) {
    std::ofstream(dir_ + "/" + name + ".log", std::ios::app | std::ios::binary) << text;
  }
  const std::string dir_ = ::testing::TempDir() + "/log_follower";
};

TEST_F(LogFollowerTest, ShowsTheLastLinesOfEachLogPrintable) {
  Append("trainer", "one\ntwo\nthree\x1b[31m\n");
  Append("rollout-0", "a\n");
  std::ostringstream out;
  ASSERT_OK(LogFollower(dir_, "").ShowTails(out, 2));
  EXPECT_EQ(out.str(), "rollout-0 | a\ntrainer | two\ntrainer | three\\x1b[31m\n");
}

TEST_F(LogFollowerTest, RoleSelectsByTheNamesStart) {
  Append("trainer", "t\n");
  Append("rollout-0", "a\n");
  std::ostringstream out;
  ASSERT_OK(LogFollower(dir_, "rollout").ShowTails(out, 9));
  EXPECT_EQ(out.str(), "rollout-0 | a\n");
  EXPECT_STATUS(LogFollower(dir_, "judge").ShowTails(out, 9), absl::StatusCode::kNotFound, "--run-dir");
}

TEST_F(LogFollowerTest, FollowsWholeLinesAndNewFiles) {
  Append("trainer", "old\n");
  LogFollower follower(dir_, "");
  std::ostringstream tails, first, second;
  ASSERT_OK(follower.ShowTails(tails, 9));
  Append("trainer", "new\nhal");
  Append("rollout-0", "came later\n");
  follower.ShowNew(first);
  EXPECT_EQ(first.str(), "rollout-0 | came later\ntrainer | new\n");
  Append("trainer", "f\n");
  follower.ShowNew(second);
  EXPECT_EQ(second.str(), "trainer | half\n");
}

}  // namespace
}  // namespace grpo
