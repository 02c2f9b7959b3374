#include "tools/grpoctl/rewards/rule_skeleton.h"

#include <filesystem>

#include "common/files.h"
#include "common/status_testing.h"

namespace grpo {
namespace {

TEST(RuleSkeleton, WritesTheFilesUnderTheRulesName) {
  const std::string folder = ::testing::TempDir() + "/skeletons";
  for (const std::string& kind : SkeletonKinds()) {
    ASSERT_OK_AND_ASSIGN(const auto paths, WriteSkeleton("short_answer", kind, folder + "/" + kind));
    bool named = false;
    for (const std::string& path : paths) {
      ASSERT_OK_AND_ASSIGN(const std::string text, ReadFile(path));
      EXPECT_GT(text.size(), 100u) << path;
      EXPECT_EQ(text.find("my_rule"), std::string::npos) << path;
      named |= text.find("short_answer") != std::string::npos;
    }
    EXPECT_TRUE(named) << kind;
  }
  EXPECT_TRUE(std::filesystem::exists(folder + "/python/grpo_rule.py"));
  EXPECT_STATUS(WriteSkeleton("short_answer", "yaml", folder + "/yaml").status(), absl::StatusCode::kAlreadyExists,
                "is there already");
  EXPECT_STATUS(WriteSkeleton("Short", "yaml", folder).status(), absl::StatusCode::kInvalidArgument, "\"Short\"");
  EXPECT_STATUS(WriteSkeleton("a", "perl", folder).status(), absl::StatusCode::kInvalidArgument, "python");
}

}  // namespace
}  // namespace grpo
