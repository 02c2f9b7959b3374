// The extracted answer is the reference, letter by letter.
#include "absl/strings/ascii.h"
#include "reward/answer.h"
#include "reward/rule_plugin.h"

namespace grpo {
namespace {

struct ExactOptions {
  AnswerOptions answer;
  bool ignore_case = false;
  bool ignore_blanks = true;

  template <class V>
  void Visit(V& v) {
    answer.Visit(v);
    v("ignore_case", ignore_case, {.help = "Upper and lower case of ASCII letters are the same."});
    v("ignore_blanks", ignore_blanks,
      {.help = "Blanks around the answer do not matter, and any number of them inside is one."});
  }
};

class ExactRule final : public Rule {
 public:
  explicit ExactRule(const ExactOptions& options) : options_(options) {}

  RuleResult Score(const RuleInput& input) const override {
    const Extraction extraction = ReadAnswer(input, options_.answer);
    if (extraction.outcome != v1::OUTCOME_SCORED) return {.outcome = extraction.outcome};
    const std::string answer = extraction.Text();
    return {.value = Normal(answer) == Normal(input.prompt.answer()) ? 1.0 : 0.0, .extracted = CutForLog(answer)};
  }

 private:
  std::string Normal(std::string text) const {
    if (options_.ignore_case) absl::AsciiStrToLower(&text);
    if (options_.ignore_blanks) absl::RemoveExtraAsciiWhitespace(&text);
    return text;
  }

  const ExactOptions options_;
};

}  // namespace

RewardRulePlugin RewardRule_exact() {
  return MakeRewardRulePlugin<ExactOptions, ExactRule>("1 when the extracted answer is the reference's text.",
                                                       /*min_value=*/0, /*max_value=*/1);
}

}  // namespace grpo
