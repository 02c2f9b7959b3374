#include "tools/grpoctl/records/run_folder.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;

class RunFolderTest : public ::testing::Test {
 protected:
  RunFolderTest() { fs::remove_all(root_); }
  const std::string root_ =
      absl::StrCat(::testing::TempDir(), "/", ::testing::UnitTest::GetInstance()->current_test_info()->name());
  const std::string dir_ = root_ + "/run";
};

TEST_F(RunFolderTest, CreatesAFreshFolder) {
  ASSERT_OK_AND_ASSIGN(const auto folder, RunFolder::Lock(dir_));
  EXPECT_FALSE(folder->HasRun());
  ASSERT_OK(folder->Begin("run: {name: x}\n"));
  EXPECT_TRUE(folder->HasRun());
  EXPECT_EQ(*ReadFile(dir_ + "/config.yaml"), "run: {name: x}\n");
  EXPECT_TRUE(fs::is_directory(dir_ + "/logs"));
  EXPECT_TRUE(fs::is_directory(dir_ + "/endpoints"));
}

TEST_F(RunFolderTest, SecondHolderIsRefusedWithTheFirstOnesPid) {
  {
    ASSERT_OK_AND_ASSIGN(const auto folder, RunFolder::Lock(dir_));
    EXPECT_STATUS(RunFolder::Lock(dir_), absl::StatusCode::kAlreadyExists,
                  absl::StrCat("pid ", ::getpid(), " on host "));
  }
  EXPECT_OK(RunFolder::Lock(dir_));
}

TEST_F(RunFolderTest, FolderOfSomebodyElseIsNotTouched) {
  ASSERT_OK(MakeFolders(dir_));
  ASSERT_OK(WriteFileSynced(dir_ + "/thesis.txt", "text"));
  EXPECT_STATUS(RunFolder::Lock(dir_), absl::StatusCode::kAlreadyExists, "--run-dir");
  EXPECT_FALSE(fs::exists(dir_ + "/lock"));
}

TEST_F(RunFolderTest, RunIdStaysTheSame) {
  std::string first;
  {
    ASSERT_OK_AND_ASSIGN(const auto folder, RunFolder::Lock(dir_));
    ASSERT_OK_AND_ASSIGN(first, folder->RunId("quickstart"));
    EXPECT_THAT(first, ::testing::MatchesRegex("quickstart-[0-9a-f]{8}"));
  }
  ASSERT_OK_AND_ASSIGN(const auto folder, RunFolder::Lock(dir_));
  EXPECT_EQ(*folder->RunId("renamed"), first);
}

TEST_F(RunFolderTest, EndpointIsTheTrainersOwn) {
  ASSERT_OK(MakeFolders(dir_));
  ASSERT_OK(WriteEndpoint(RunEndpointPath(dir_), {.address = "127.0.0.1:41327"}));
  ASSERT_OK_AND_ASSIGN(const Endpoint found, FindEndpoint(dir_));
  EXPECT_EQ(found.address, "127.0.0.1:41327");
}

TEST_F(RunFolderTest, EndpointErrorsSayWhatIsTheMatter) {
  EXPECT_STATUS(FindEndpoint(dir_), absl::StatusCode::kNotFound, dir_);
  ASSERT_OK(MakeFolders(dir_));
  EXPECT_STATUS(FindEndpoint(dir_), absl::StatusCode::kUnavailable, "grpoctl logs --run-dir");
  for (const char* broken : {"", "[]", "{\"address\": 5}"}) {
    ASSERT_OK(WriteFileSynced(dir_ + "/endpoint.json", broken));
    EXPECT_STATUS(FindEndpoint(dir_), absl::StatusCode::kDataLoss, "--address");
  }
}

TEST_F(RunFolderTest, NewestRunIsTheOneStartedLast) {
  EXPECT_STATUS(NewestRun(root_), absl::StatusCode::kNotFound, "grpoctl run CONFIG");
  for (const char* name : {"a", "b", "c"}) ASSERT_OK(RunFolder::Lock(absl::StrCat(root_, "/", name)));
  const auto now = fs::last_write_time(root_ + "/a/lock");
  fs::last_write_time(root_ + "/a/lock", now - std::chrono::hours(1));
  fs::last_write_time(root_ + "/b/lock", now + std::chrono::hours(1));
  ASSERT_OK(MakeFolders(root_ + "/no_run"));
  EXPECT_EQ(*NewestRun(root_), root_ + "/b");
}

}  // namespace
}  // namespace grpo
