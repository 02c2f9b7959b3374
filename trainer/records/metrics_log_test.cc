#include "trainer/records/metrics_log.h"

#include <cmath>
#include <filesystem>

#include "common/files.h"
#include "common/status_testing.h"

namespace grpo {
namespace {

TEST(MetricsLogTest, WritesALineAStepAndNullForWhatIsNotFinite) {
  const std::string path = ::testing::TempDir() + "/metrics_write.jsonl";
  std::filesystem::remove(path);
  ASSERT_OK_AND_ASSIGN(auto log, MetricsLog::Open(path, {}, "a", 0));
  log->Append("a", 1, {{"loss", 0.5}, {"grad_norm", std::nan("")}});
  ASSERT_OK_AND_ASSIGN(const std::string text, ReadFile(path));
  EXPECT_EQ(text, "{\"stage\":\"a\",\"step\":1,\"grad_norm\":null,\"loss\":0.5}\n");
}

TEST(MetricsLogTest, AResumedRunDropsTheLinesThatItWritesAgain) {
  const std::string path = ::testing::TempDir() + "/metrics_resume.jsonl";
  ASSERT_OK(WriteFileSynced(path,
                            "{\"stage\":\"a\",\"step\":1}\n{\"stage\":\"a\",\"step\":2}\n"
                            "{\"stage\":\"b\",\"step\":1}\n{\"stage\":\"b\",\"step\":2}\n{\"stage\":\"b\",\"st"));
  ASSERT_OK_AND_ASSIGN(auto log, MetricsLog::Open(path, {"a"}, "b", 1));
  log->Append("b", 2, {{"kl", 1}});
  ASSERT_OK_AND_ASSIGN(const std::string text, ReadFile(path));
  EXPECT_EQ(text,
            "{\"stage\":\"a\",\"step\":1}\n{\"stage\":\"a\",\"step\":2}\n{\"stage\":\"b\",\"step\":1}\n{\"stage\":"
            "\"b\",\"step\":2,\"kl\":1.0}\n");
}

TEST(MetricsLogTest, AFileThatIsDeletedOrReplacedIsBegunAnewWithANote) {
  const std::string path = ::testing::TempDir() + "/metrics_deleted.jsonl";
  std::filesystem::remove(path);
  ASSERT_OK_AND_ASSIGN(auto log, MetricsLog::Open(path, {}, "a", 0));
  log->Append("a", 1, {{"loss", 0.5}});
  std::filesystem::remove(path);
  log->Append("a", 2, {{"loss", 0.25}});
  log->Append("a", 3, {{"loss", 0.125}});
  const std::string note =
      ",\"note\":\"the file was deleted or replaced while the run was going on: what came before this line is "
      "lost\"}\n";
  EXPECT_EQ(*ReadFile(path),
            "{\"stage\":\"a\",\"step\":2,\"loss\":0.25" + note + "{\"stage\":\"a\",\"step\":3,\"loss\":0.125}\n");
  // As an editor does.
  ASSERT_OK(WriteFileAtomically(path, "{\"stage\":\"a\",\"step\":3}\n"));
  log->Append("a", 4, {});
  EXPECT_EQ(*ReadFile(path), "{\"stage\":\"a\",\"step\":3}\n{\"stage\":\"a\",\"step\":4" + note);
}

TEST(MetricsLogTest, AFileThatIsMissingThoughThereWereStepsIsBegunAnewWithANote) {
  const std::string path = ::testing::TempDir() + "/metrics_missing.jsonl";
  std::filesystem::remove(path);
  ASSERT_OK_AND_ASSIGN(auto log, MetricsLog::Open(path, {}, "a", 54));
  log->Append("a", 55, {{"loss", 0.5}});
  EXPECT_EQ(*ReadFile(path),
            "{\"stage\":\"a\",\"step\":55,\"loss\":0.5,\"note\":\"the file was missing when the run went on: what came "
            "before this line is lost\"}\n");
}

TEST(MetricsLogTest, AMetricThatNobodyDeclaredIsLeftOut) {
  const std::string path = ::testing::TempDir() + "/metrics_undeclared.jsonl";
  std::filesystem::remove(path);
  ASSERT_OK_AND_ASSIGN(auto log, MetricsLog::Open(path, {}, "a", 0));
  log->Append("a", 1, {{"loss", 0.5}, {"lost", 1}});
  ASSERT_OK_AND_ASSIGN(const std::string text, ReadFile(path));
  EXPECT_EQ(text, "{\"stage\":\"a\",\"step\":1,\"loss\":0.5}\n");
}

}  // namespace
}  // namespace grpo
