#include "tools/grpoctl/records/run_record.h"

#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class RunRecordTest : public ::testing::Test {
 protected:
  void SetUp() override { fs::remove_all(root_); }
  void TearDown() override { fs::remove_all(root_); }

  void Put(const std::string& name, const std::string& content) const {
    const fs::path path = fs::path(dir_) / name;
    ASSERT_OK(MakeFolders(path.parent_path().string()));
    ASSERT_OK(WriteFileSynced(path.string(), content));
  }
  void PutLock(const std::string& host, int64_t pid = 1) const {
    Put("lock", absl::StrCat("{\"host\":\"", host, "\",\"pid\":", pid, ",\"run_id\":\"quick-1\"}\n"));
  }
  // Makes the file older, so that no clock's grain matters.
  void Age(const std::string& name, int hours) const {
    const fs::path path = fs::path(dir_) / name;
    fs::last_write_time(path, fs::last_write_time(path) - std::chrono::hours(hours));
  }
  static std::string ThisHost() {
    char name[256] = {};
    EXPECT_EQ(::gethostname(name, sizeof(name) - 1), 0);
    return name;
  }

  const std::string root_ =
      absl::StrCat(::testing::TempDir(), "/record_", ::testing::UnitTest::GetInstance()->current_test_info()->name());
  const std::string dir_ = root_ + "/quick";
};

TEST_F(RunRecordTest, AFolderIsARunsOnceItHasALockOrAJob) {
  ASSERT_OK(MakeFolders(dir_));
  EXPECT_FALSE(IsRunFolder(dir_));
  Put("config.yaml", "anything: 1\n");
  EXPECT_FALSE(IsRunFolder(dir_)) << "many things have a config.yaml";
  Put("launch/job.json", "{}");
  EXPECT_TRUE(IsRunFolder(dir_));
  fs::remove_all(dir_ + "/launch");
  PutLock("h1");
  EXPECT_TRUE(IsRunFolder(dir_));
}

TEST_F(RunRecordTest, AnEndThatWasWrittenDownIsTakenWithTheNewestReward) {
  PutLock("h1", 77);
  Put("ended.json", R"({"state":"STOPPED","reason":"SIGTERM","stage":"r1_zero","step":40,"num_steps":120})");
  Put("metrics.jsonl",
      "{\"stage\":\"r1_zero\",\"step\":39,\"reward\":0.5}\n{\"stage\":\"r1_zero\",\"step\":40,"
      "\"reward\":0.75}\n{\"stage\":\"r1_z");
  const RunRecord record = ReadRunRecord(dir_ + "/");
  EXPECT_EQ(record.name, "quick");
  EXPECT_EQ(record.state, "stopped");
  EXPECT_EQ(record.note, "SIGTERM");
  EXPECT_EQ(record.stage, "r1_zero");
  EXPECT_EQ(record.step, 40);
  EXPECT_EQ(record.num_steps, 120);
  EXPECT_EQ(record.reward, 0.75);
  EXPECT_EQ(record.host, "h1");
  EXPECT_EQ(record.pid, 77);
  EXPECT_EQ(record.run_id, "quick-1");
  EXPECT_FALSE(record.serves);
  ASSERT_TRUE(record.age_seconds.has_value());
  EXPECT_GE(*record.age_seconds, 0);
}

TEST_F(RunRecordTest, WithoutAWordOfAnEndItIsLostStartingOrUnknown) {
  // A process that cannot be: above the kernel's largest number.
  PutLock(ThisHost(), int64_t{1} << 40);
  Put("metrics.jsonl", "{\"stage\":\"tune\",\"step\":7,\"loss\":1}\n");
  RunRecord record = ReadRunRecord(dir_);
  EXPECT_EQ(record.state, "lost");
  EXPECT_THAT(record.note, HasSubstr("--resume"));
  EXPECT_EQ(record.stage, "tune");
  EXPECT_EQ(record.step, 7);
  EXPECT_EQ(record.reward, std::nullopt);
  // Somebody else has that number now.
  PutLock(ThisHost(), ::getpid());
  EXPECT_EQ(ReadRunRecord(dir_).state, "lost");
  PutLock("some-other-host", ::getpid());
  EXPECT_EQ(ReadRunRecord(dir_).state, "unknown");
  Put("endpoint.json", R"({"address":"h:1"})");
  record = ReadRunRecord(dir_);
  EXPECT_EQ(record.state, "lost") << "until its trainer was asked";
  EXPECT_TRUE(record.serves);
}

TEST_F(RunRecordTest, AJobThatWaitsIsSubmittedUntilItBegins) {
  Put("launch/job.json", R"({"target":"slurm","job":"42","submitted_at":"2026-11-30T02:51:12Z","run_id":"quick-2"})");
  RunRecord record = ReadRunRecord(dir_);
  EXPECT_EQ(record.state, "submitted");
  EXPECT_EQ(record.job, "slurm 42");
  EXPECT_EQ(record.run_id, "quick-2");
  EXPECT_TRUE(record.age_seconds.has_value());
  Age("launch/job.json", /*hours=*/1);
  PutLock("node7");
  EXPECT_EQ(ReadRunRecord(dir_).state, "unknown");
  Put("ended.json", R"({"state":"FAILED"})");
  EXPECT_EQ(ReadRunRecord(dir_).state, "failed");
  // Submitted once more.
  Age("lock", /*hours=*/3);
  Age("ended.json", /*hours=*/2);
  Put("launch/job.json", R"({"target":"slurm","job":"43","submitted_at":"2026-11-30T05:51:12Z","run_id":"quick-2"})");
  record = ReadRunRecord(dir_);
  EXPECT_EQ(record.state, "submitted");
  EXPECT_EQ(record.job, "slurm 43");
}

TEST_F(RunRecordTest, AllStagesReportedIsFinishedAlsoWhereNobodyWroteTheEnd) {
  PutLock(ThisHost(), int64_t{1} << 40);
  Put("config.yaml", "run: {name: q}\nstages:\n  - {name: a, type: evaluate}\n  - {name: b, type: evaluate}\n");
  Put("summary.json", R"({"run":{},"stages":[{"name":"a","type":"evaluate"}]})");
  EXPECT_EQ(ReadRunRecord(dir_).state, "lost");
  Put("summary.json", R"({"run":{},"stages":[{"name":"a","type":"evaluate"},{"name":"b","type":"evaluate"}]})");
  EXPECT_EQ(ReadRunRecord(dir_).state, "finished");
  EXPECT_EQ(ReadRunRecord(dir_).note, "");
}

TEST_F(RunRecordTest, FilesThatAreSomethingElseHarmNobody) {
  for (const char* text : {"", "[]", "nonsense", "{\"state\":1,\"step\":\"x\",\"reward\":[]}", "\xff\xfe{"}) {
    for (const char* name : {"lock", "ended.json", "metrics.jsonl", "summary.json", "config.yaml", "launch/job.json"})
      Put(name, text);
    const RunRecord record = ReadRunRecord(dir_);
    EXPECT_NE(record.state, "") << text;
    EXPECT_EQ(record.step, -1) << text;
  }
  ASSERT_EQ(::unlink((dir_ + "/metrics.jsonl").c_str()), 0);
  ASSERT_OK(MakeFolders(dir_ + "/metrics.jsonl"));
  EXPECT_EQ(ReadRunRecord(dir_).step, -1);
}

TEST_F(RunRecordTest, AFolderThatMayNotBeReadIsSaidToBeSo) {
  if (::geteuid() == 0) GTEST_SKIP() << "a root may read everything";
  PutLock("h1");
  fs::permissions(dir_, fs::perms::none);
  EXPECT_TRUE(IsRunFolder(dir_));
  const RunRecord record = ReadRunRecord(dir_);
  fs::permissions(dir_, fs::perms::owner_all);
  EXPECT_EQ(record.state, "unreadable");
  EXPECT_NE(record.note, "");
}

}  // namespace
}  // namespace grpo
