#include "trainer/records/quarantine_log.h"

#include <filesystem>

#include "common/files.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

QuarantinedGroup TestQuarantined(const std::string& stage, int64_t index, const std::string& prompt) {
  QuarantinedGroup group{.lease = {}, .dead_workers = {"rollout-0.1@1", "rollout-1.4@1"}};
  group.lease.mutable_key()->set_stage(stage);
  group.lease.mutable_key()->set_group_index(index);
  group.lease.mutable_prompt()->set_id("train/17");
  group.lease.mutable_prompt()->set_text(prompt);
  group.lease.mutable_prompt()->set_answer("4");
  return group;
}

TEST(QuarantineLogTest, WritesALineAGroupAndGoesOnWithThemInAResumedRun) {
  const std::string path = ::testing::TempDir() + "/quarantine.jsonl";
  std::filesystem::remove(path);
  ASSERT_OK_AND_ASSIGN(auto log, QuarantineLog::Open(path, /*resume=*/true));
  EXPECT_TRUE(log->entries().empty());
  ASSERT_OK(log->Append({TestQuarantined("rl", 9, "2+2\n=")}));
  const std::string first =
      "{\"stage\":\"rl\",\"group_index\":9,\"id\":\"train/17\",\"prompt\":\"2+2\\n=\",\"answer\":\"4\","
      "\"workers\":[\"rollout-0.1@1\",\"rollout-1.4@1\"]}\n";
  ASSERT_OK_AND_ASSIGN(std::string text, ReadFile(path));
  EXPECT_EQ(text, first);

  ASSERT_OK_AND_ASSIGN(log, QuarantineLog::Open(path, /*resume=*/true));
  ASSERT_EQ(log->entries().size(), 1u);
  EXPECT_EQ(log->entries()[0].stage, "rl");
  EXPECT_EQ(log->entries()[0].group_index, 9);
  ASSERT_OK(log->Append({TestQuarantined("eval", 0, "\xff")}));
  ASSERT_OK_AND_ASSIGN(text, ReadFile(path));
  EXPECT_THAT(text, ::testing::StartsWith(first + "{\"stage\":\"eval\""));
  EXPECT_EQ(log->entries().size(), 2u);

  // Another run in the same folder begins anew.
  ASSERT_OK_AND_ASSIGN(log, QuarantineLog::Open(path, /*resume=*/false));
  EXPECT_TRUE(log->entries().empty());
}

TEST(QuarantineLogTest, AGroupThatCouldNotBeWrittenIsWrittenWithTheNext) {
  const std::string folder = ::testing::TempDir() + "/quarantine_late";
  std::filesystem::remove_all(folder);
  ASSERT_OK_AND_ASSIGN(auto log, QuarantineLog::Open(folder + "/quarantine.jsonl", /*resume=*/true));
  EXPECT_FALSE(log->Append({TestQuarantined("rl", 1, "a")}).ok());
  ASSERT_OK(MakeFolders(folder));
  ASSERT_OK(log->Append({TestQuarantined("rl", 2, "b")}));
  ASSERT_OK_AND_ASSIGN(log, QuarantineLog::Open(folder + "/quarantine.jsonl", /*resume=*/true));
  EXPECT_EQ(log->entries().size(), 2u);
}

TEST(QuarantineLogTest, NamesTheLineThatIsNoEntry) {
  const std::string path = ::testing::TempDir() + "/quarantine_bad.jsonl";
  ASSERT_OK(WriteFileSynced(path, "{\"stage\":\"a\",\"group_index\":1}\n{\"stage\":\"a\",\"group_index\":\"2\"}\n"));
  EXPECT_STATUS(QuarantineLog::Open(path, /*resume=*/true), absl::StatusCode::kDataLoss, "quarantine_bad.jsonl line 2");
}

}  // namespace
}  // namespace grpo
