// my_rule pays 1 when the last <answer> holds the reference answer, literally. This file is reward/rules/my_rule.cc;
// the line REWARD_RULE(my_rule) in reward/rules.inc is all that it needs besides.
#include "absl/strings/ascii.h"
#include "reward/answer.h"
#include "reward/rule_plugin.h"

namespace grpo {
namespace {

struct MyRuleOptions {
  double value_when_right = 1;

  template <class V>
  void Visit(V& v) {
    v("value_when_right", value_when_right, {.help = "What a right answer is worth.", .min = 0, .max = 1});
  }
};

class MyRule final : public Rule {
 public:
  explicit MyRule(const MyRuleOptions& options) : options_(options) {}

  RuleResult Score(const RuleInput& input) const override {
    re2::StringPiece answer;
    if (!RE2::PartialMatch({input.completion.data(), input.completion.size()}, last_, &answer)) {
      return {.outcome = v1::OUTCOME_NO_ANSWER};
    }
    const absl::string_view found(answer.data(), answer.size());
    const bool right = found == absl::StripAsciiWhitespace(input.prompt.answer());
    return {.value = right ? options_.value_when_right : 0, .extracted = CutForLog(found)};
  }

 private:
  const MyRuleOptions options_;
  const RE2 last_{R"((?s)^.*<answer>\s*([^<]*?)\s*</answer>\s*$)", RE2::Latin1};
};

}  // namespace

RewardRulePlugin RewardRule_my_rule() {
  return MakeRewardRulePlugin<MyRuleOptions, MyRule>("1 when the last <answer> holds the reference answer, literally.",
                                                     /*min_value=*/0, /*max_value=*/1);
}

}  // namespace grpo
