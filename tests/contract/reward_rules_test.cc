// What every reward rule promises (reward/rule.h), checked on each that rules.inc lists: a new rule is covered by being
// there.
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "common/seeds.h"
#include "common/status_testing.h"
#include "reward/rule.h"

namespace grpo {
namespace {

// For one completion of 1 MB; a linear scan takes milliseconds.
constexpr std::chrono::seconds kLongestScore(2);

v1::Prompt ExamplePrompt() {
  v1::Prompt prompt;
  prompt.set_id("p");
  prompt.set_text("Q:H35 L94\nA:");
  prompt.set_answer("12");
  return prompt;
}

// One unit repeated to 1 MB, alone and where an answer is looked for.
std::vector<std::string> MegabyteTexts() {
  std::vector<std::string> texts;
  for (const std::string unit :
       {"<think>",    "</think>", "<answer>", "</answer>", "\\boxed{", "\\boxed{1}, ", "}", "#### 1\n",
        "answer is ", "$",        "\\(",      "9",         "1,",       "1/",           "-", "10^{",
        "\\frac{",    "\\text{",  "\xff",     "a",         " ",        "\n",           "**"}) {
    std::string text;
    while (text.size() < (1 << 20)) text += unit;
    texts.push_back("<think>t</think><answer>" + text + "</answer>");
    texts.push_back("\\boxed{" + text + "}");
    texts.push_back(std::move(text));
  }
  texts.push_back(std::string(1 << 20, '\0'));
  return texts;
}

std::vector<std::string> SmallTexts() {
  std::vector<std::string> texts = {"",
                                    " ",
                                    std::string(1, '\0'),
                                    std::string("<answer>1\0 2</answer>", 21),
                                    "\xff\xfe\xc3",
                                    "<think>\xed\xa0\x80</think><answer>\xf5</answer>",
                                    "12",
                                    "\\boxed{12}",
                                    "<think>t</think><answer>12</answer>",
                                    "<answer>7^{7^{7^{7^7}}}</answer>",
                                    "<answer>1e999999999</answer>",
                                    "<answer>1/0</answer>"};
  const std::vector<std::string> tokens = {"<think>", "</think>", "<answer>", "</answer>", "\\boxed{",          "}",
                                           "12",      " ",        "\n",       "#### ",     "The answer is ",    "$",
                                           ".",       ",",        "/",        "\xff",      std::string(1, '\0')};
  Rng rng(3);
  for (int i = 0; i < 2000; ++i) {
    std::string text;
    for (int64_t n = rng.Below(12); n > 0; --n) text += rng.Choice(tokens);
    texts.push_back(std::move(text));
  }
  return texts;
}

class RewardRuleContract : public ::testing::TestWithParam<RuleInfo> {
 protected:
  void SetUp() override { ASSERT_OK_AND_ASSIGN(rule_, MakeRule(GetParam().name, Section())); }

  void ExpectInRange(const RuleResult& result, const std::string& text) const {
    EXPECT_NE(result.outcome, v1::OUTCOME_UNSPECIFIED);
    // The rest are for others to give: the profile and the service.
    EXPECT_NE(result.outcome, v1::OUTCOME_RULE_ERROR);
    EXPECT_NE(result.outcome, v1::OUTCOME_DEADLINE);
    if (result.outcome != v1::OUTCOME_SCORED) {
      EXPECT_EQ(result.value, 0) << text.substr(0, 100);
    }
    EXPECT_GE(result.value, std::min(0.0, GetParam().min_value)) << text.substr(0, 100);
    EXPECT_LE(result.value, GetParam().max_value) << text.substr(0, 100);
  }

  std::unique_ptr<Rule> rule_;
};

void ExpectSame(const RuleResult& a, const RuleResult& b, const std::string& text) {
  EXPECT_EQ(a.outcome, b.outcome) << text.substr(0, 100);
  EXPECT_EQ(a.value, b.value) << text.substr(0, 100);
  EXPECT_EQ(a.extracted, b.extracted) << text.substr(0, 100);
}

TEST_P(RewardRuleContract, SaysWhatItIs) {
  EXPECT_FALSE(GetParam().name.empty());
  EXPECT_FALSE(GetParam().summary.empty());
  EXPECT_LT(GetParam().min_value, GetParam().max_value);
  EXPECT_FALSE(GetParam().reference_table.empty());
}

TEST_P(RewardRuleContract, StaysInRangeAndIsDeterministicOnAnyBytes) {
  const v1::Prompt prompt = ExamplePrompt();
  ASSERT_OK_AND_ASSIGN(const auto other, MakeRule(GetParam().name, Section()));
  for (const std::string& text : SmallTexts()) {
    const RuleResult result = rule_->Score({text, prompt});
    ExpectInRange(result, text);
    ExpectSame(result, rule_->Score({text, prompt}), text);
    ExpectSame(result, other->Score({text, prompt}), text);
  }
}

TEST_P(RewardRuleContract, AnyReferenceIsAnOutcomeNeverACrash) {
  for (const std::string& answer : SmallTexts()) {
    v1::Prompt prompt = ExamplePrompt();
    prompt.set_answer(answer);
    for (const std::string text : {"", "<answer>12</answer>", "<think>t</think><answer>1e9</answer>"}) {
      const RuleResult result = rule_->Score({text, prompt});
      ExpectInRange(result, text);
      // A reference that passed the check before step 0 is never the reason afterwards.
      if (rule_->CheckReference(prompt).ok()) {
        EXPECT_NE(result.outcome, v1::OUTCOME_REFERENCE_UNPARSABLE) << answer;
      }
    }
  }
}

TEST_P(RewardRuleContract, AMegabyteTakesBoundedTimeAndKeepsLittle) {
  const v1::Prompt prompt = ExamplePrompt();
  for (const std::string& text : MegabyteTexts()) {
    const auto begin = std::chrono::steady_clock::now();
    const RuleResult result = rule_->Score({text, prompt});
    EXPECT_LT(std::chrono::steady_clock::now() - begin, kLongestScore) << text.substr(0, 100);
    ExpectInRange(result, text);
    // Scores of a large group must fit into messages.
    EXPECT_LE(result.extracted.size(), 64u << 10) << text.substr(0, 100);
  }
}

TEST_P(RewardRuleContract, ThreadsDoNotDisturbEachOther) {
  const v1::Prompt prompt = ExamplePrompt();
  const std::vector<std::string> texts = SmallTexts();
  std::vector<RuleResult> expected;
  for (const std::string& text : texts) expected.push_back(rule_->Score({text, prompt}));
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (size_t i = 0; i < texts.size(); ++i) ExpectSame(rule_->Score({texts[i], prompt}), expected[i], texts[i]);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

INSTANTIATE_TEST_SUITE_P(AllRules, RewardRuleContract, ::testing::ValuesIn(ListRules()),
                         [](const auto& param_info) { return param_info.param.name; });

}  // namespace
}  // namespace grpo
