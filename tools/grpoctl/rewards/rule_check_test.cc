#include "tools/grpoctl/rewards/rule_check.h"

#include <sstream>

#include "common/status_testing.h"
#include "configs/load.h"

namespace grpo {
namespace {

TEST(RuleCheck, ARuleThatKeepsTheContractPassesAndOneThatScoresNothingDoesNot) {
  v1::Prompt prompt;
  prompt.set_answer("12");
  ASSERT_OK_AND_ASSIGN(const auto good, RewardProfile::Make("default", DefaultRewardProfile()));
  std::ostringstream out;
  EXPECT_EQ(CheckRules(*good, prompt, out), 0) << out.str();
  EXPECT_NE(out.str().find("math_answer"), std::string::npos);
  RewardProfileOptions options;
  ASSERT_OK_AND_ASSIGN(options.rules["regex"].rule,
                       ParseConfigText("{pattern: '(zzz)', value: equals_answer}", "test.yaml"));
  ASSERT_OK_AND_ASSIGN(const auto deaf, RewardProfile::Make("deaf", options));
  std::ostringstream problems;
  EXPECT_EQ(CheckRules(*deaf, prompt, problems), 1);
  EXPECT_NE(problems.str().find("it scored none"), std::string::npos) << problems.str();
}

}  // namespace
}  // namespace grpo
