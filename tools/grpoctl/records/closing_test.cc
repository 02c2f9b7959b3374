#include "tools/grpoctl/records/closing.h"

#include <filesystem>

#include "common/files.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "trainer/records/completions_format.h"
#include "trainer/records/completions_log.h"

namespace grpo {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kSummary[] = R"({"run": {"name": "quickstart"}, "stages": [
  {"name": "pretrain", "type": "train", "policy": "base", "seconds": 133.25, "metrics": {"loss": 1.5}},
  {"name": "evaluate_base", "type": "evaluate", "policy": "base", "seconds": 3,
   "metrics": {"pass_at_1": 0.038, "pass_at_1_ci_low": 0.02, "pass_at_1_ci_high": 0.056, "mean_completion_tokens": 14.12,
               "outcomes/scored": 1, "reward": 0.1}},
  {"name": "evaluate_rl", "type": "evaluate", "policy": "r1_zero", "seconds": 4,
   "metrics": {"pass_at_1": 0.937, "format_rate": 0.99, "mean_completion_tokens": 30.4, "reward": 1.03}}]})";

class ClosingTextTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK(MakeFolders(dir_ + "/models/rl"));
    ASSERT_OK(WriteFileAtomically(dir_ + "/summary.json", kSummary));
    ASSERT_OK_AND_ASSIGN(auto log, CompletionsLog::Open(dir_ + "/" + kCompletionsFile, {}));
    log->Append("evaluate_rl", 3,
                {Group("Q:H35 L94", {"<answer>\x1b[31m12</answer>", "again"}), Group("Q:H4 L10", {"1"}),
                 Group("Q:H5 L10", {"third"})});
  }

  static ScoredGroup Group(const std::string& prompt, const std::vector<std::string>& texts) {
    ScoredGroup group;
    group.lease.mutable_prompt()->set_text(prompt);
    group.lease.mutable_prompt()->set_answer("12");
    for (const std::string& text : texts) {
      v1::ScoredCompletion& scored = group.completions.emplace_back();
      scored.mutable_completion()->set_index(static_cast<int>(group.completions.size()) - 1);
      scored.mutable_completion()->set_text(text);
      scored.mutable_score()->set_value(1.1);
    }
    return group;
  }

  const std::string dir_ = ::testing::TempDir() + "/report";
};

TEST_F(ClosingTextTest, TellsTableSamplesSecondsAndPlaces) {
  ASSERT_OK_AND_ASSIGN(const std::string report, ClosingText(dir_, {"models/rl", "models/none"}));
  EXPECT_THAT(report, HasSubstr("93.7 %"));
  EXPECT_THAT(report, HasSubstr("Completions of r1_zero:\n"
                                "  Q:H35 L94\n    <answer>\\x1b[31m12</answer>\n    reward 1.1, reference answer 12\n"
                                "  Q:H4 L10\n    1\n    reward 1.1, reference answer 12\n\n"));
  EXPECT_THAT(report, Not(HasSubstr("Completions of base")));
  EXPECT_THAT(report, HasSubstr("140.2"));  // 133.25 + 3 + 4 seconds, a tie rounded to even
  EXPECT_THAT(report, HasSubstr(dir_ + "/summary.json"));
  EXPECT_THAT(report, Not(HasSubstr(dir_ + "/metrics.jsonl")));
  EXPECT_THAT(report, HasSubstr(dir_ + "/models/rl"));
  EXPECT_THAT(report, Not(HasSubstr("models/none")));
}

TEST_F(ClosingTextTest, SaysWhichFileIsMissing) {
  EXPECT_STATUS(ClosingText(dir_ + "/nowhere", {}), absl::StatusCode::kNotFound, "nowhere/summary.json");
}

}  // namespace
}  // namespace grpo
