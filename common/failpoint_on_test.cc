#include "common/failpoint_on.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "common/exit_codes.h"
#include "common/failpoint.h"
#include "common/files.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;
using ::testing::ExitedWithCode;
using ::testing::KilledBySignal;

class FailpointOnTest : public ::testing::Test {
 protected:
  FailpointOnTest() : folder_(::testing::TempDir() + "/failpoints." + std::to_string(::getpid())) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~FailpointOnTest() override { fs::remove_all(folder_); }

  std::unique_ptr<Failpoints> Parsed(const std::string& list) const { return *Failpoints::Parse(list, folder_); }

  const std::string folder_;
};

TEST_F(FailpointOnTest, FiresOnceAtTheHitWhoseDetailFits) {
  const std::unique_ptr<Failpoints> points = Parsed("files.write(state)=error:EIO@2");
  EXPECT_EQ(points->Pass("files.write", "state.json"), 0);
  EXPECT_EQ(points->Pass("files.write", "config.yaml"), 0) << "another detail is not counted";
  EXPECT_EQ(points->Pass("files.fsync", "state.json"), 0) << "another name is not counted";
  EXPECT_EQ(points->Pass("files.write", "state.json"), EIO);
  EXPECT_EQ(points->Pass("files.write", "state.json"), 0);
  ASSERT_OK_AND_ASSIGN(const std::string marker, ReadFile(folder_ + "/files.write.0"));
  EXPECT_EQ(marker, "pid " + std::to_string(::getpid()) + "\nname files.write\ndetail state.json\nhit 2\n");
}

TEST_F(FailpointOnTest, AStarStandsForTheRestOfTheName) {
  const std::unique_ptr<Failpoints> points = Parsed("files.*=error:EIO@3");
  EXPECT_EQ(points->Pass("files.open", ""), 0);
  EXPECT_EQ(points->Pass("file", ""), 0) << "another name is not counted";
  EXPECT_EQ(points->Pass("files.write", ""), 0);
  EXPECT_EQ(points->Pass("files.fsync", ""), EIO);
}

TEST_F(FailpointOnTest, AProcessThatStartsAgainDoesNotFailAgain) {
  EXPECT_EQ(Parsed("a=error:ENOSPC@1")->Pass("a", ""), ENOSPC);
  EXPECT_EQ(Parsed("a=error:ENOSPC@1")->Pass("a", ""), 0);
}

TEST_F(FailpointOnTest, EveryPointOfAListCounts) {
  const std::unique_ptr<Failpoints> points = Parsed("a=error:EIO@1; a=error:ENOSPC@2;;b(x=1)=delay:0@1");
  EXPECT_EQ(points->Pass("a", ""), EIO);
  EXPECT_EQ(points->Pass("a", ""), ENOSPC);
  EXPECT_EQ(points->Pass("b", "x=1"), 0);
  for (const char* marker : {"/a.0", "/a.1", "/b.2"}) EXPECT_TRUE(fs::exists(folder_ + marker)) << marker;
}

TEST_F(FailpointOnTest, EndsTheProcessAsItSays) {
  EXPECT_EXIT(Parsed("a=kill@1")->Pass("a", ""), KilledBySignal(SIGKILL), "");
  EXPECT_EXIT(Parsed("b=exit@1")->Pass("b", ""), ExitedWithCode(kExitInternal), "");
  EXPECT_TRUE(fs::exists(folder_ + "/a.0")) << "the mark comes before the kill";
}

TEST_F(FailpointOnTest, KillAllTakesTheParentToo) {
  const auto parent_and_child = [this] {
    const pid_t child = ::fork();
    if (child == 0) Parsed("a=kill_all@1")->Pass("a", "");
    ::waitpid(child, nullptr, 0);
    ::_exit(0);
  };
  EXPECT_EXIT(parent_and_child(), KilledBySignal(SIGKILL), "");
}

TEST_F(FailpointOnTest, StopWaitsForTheSignalToContinue) {
  const pid_t child = ::fork();
  if (child == 0) {
    Parsed("a=stop@1")->Pass("a", "");
    ::_exit(5);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, WUNTRACED), child);
  EXPECT_TRUE(WIFSTOPPED(status));
  ::kill(child, SIGCONT);
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 5);
}

TEST_F(FailpointOnTest, ListsThatCannotBeReadAreNamed) {
  for (const char* list : {"a", "a=kill", "a@1", "=kill@1", "a=kill@0", "a=kill@x", "a=kil@1", "a=error:EBADF@1",
                           "a=delay:@1", "a=delay:-1@1", "a(b=kill@1", "a/b=kill@1", "fine=kill@1;a"}) {
    const absl::Status status = Failpoints::Parse(list, folder_).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << list;
    EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("name[(text)]=action@hit")) << list;
  }
  EXPECT_STATUS(Failpoints::Parse("a=kill@1", folder_ + "/nowhere"), absl::StatusCode::kInvalidArgument,
                "GRPO_FAILPOINT_DIR");
  EXPECT_OK(Failpoints::Parse("", ""));
}

TEST_F(FailpointOnTest, AProcessWithAListThatCannotBeReadAborts) {
  const std::string again =
      "GRPO_FAILPOINTS=nonsense exec " + fs::read_symlink("/proc/self/exe").string() + " --gtest_list_tests 2>&1";
  FILE* const pipe = ::popen(again.c_str(), "r");
  char buffer[512];
  const size_t got = ::fread(buffer, 1, sizeof(buffer), pipe);
  const int status = ::pclose(pipe);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) << status;
  EXPECT_THAT(std::string(buffer, got), ::testing::HasSubstr("'nonsense' has no =action@hit"));
}

TEST_F(FailpointOnTest, TheProcessPassesTheListThatItWasGiven) {
  EXPECT_OK(Failpoint("a", "b"));
  ArmFailpoints("a=error:ENOSPC@1", folder_);
  EXPECT_STATUS(Failpoint("a", "b"), absl::StatusCode::kResourceExhausted, "failpoint a (b)");
  ArmFailpoints("", "");
  EXPECT_EQ(FailpointErrno("a", "b"), 0);
}

}  // namespace
}  // namespace grpo
