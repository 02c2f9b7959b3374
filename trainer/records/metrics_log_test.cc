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
