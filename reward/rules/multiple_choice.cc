// The answer names the right choice and no other (reward/choice.h): B, (B), "B) Paris", \text{B}, "option B", "B, since A
// is wrong".
#include "absl/strings/ascii.h"
#include "reward/answer.h"
#include "reward/choice.h"
#include "reward/rule_plugin.h"

namespace grpo {
namespace {

struct MultipleChoiceOptions {
  AnswerOptions answer;
  std::string choices = "ABCDE";

  template <class V>
  void Visit(V& v) {
    answer.Visit(v);
    v("choices", choices, {.help = "The letters that there are to choose from, upper case: \"ABCD\"."});
  }
};

class MultipleChoiceRule final : public Rule {
 public:
  static absl::StatusOr<std::unique_ptr<Rule>> Create(const MultipleChoiceOptions& options, const Section& section) {
    for (const char c : options.choices) {
      if (!absl::ascii_isupper(c)) {
        return SectionError(section, "choices",
                            absl::StrCat("\"", options.choices, "\" holds something else than A-Z"));
      }
    }
    if (options.choices.size() < 2) return SectionError(section, "choices", "has fewer than two letters");
    return std::make_unique<MultipleChoiceRule>(options);
  }
  explicit MultipleChoiceRule(const MultipleChoiceOptions& options) : options_(options) {}

  RuleResult Score(const RuleInput& input) const override {
    const char reference = ReferenceOf(input.prompt);
    if (reference == 0)
      return {.outcome = v1::OUTCOME_REFERENCE_UNPARSABLE, .decided_by = "the reference is no choice"};
    const Extraction extraction = ReadAnswer(input, options_.answer);
    if (extraction.outcome != v1::OUTCOME_SCORED) return {.outcome = extraction.outcome};
    // All of a sentence is looked at: what explains one choice may name another.
    const std::string answer = extraction.sentence.empty() ? extraction.Text() : extraction.sentence;
    const char letter = extraction.parts.size() == 1 ? ReadChoice(options_.choices, answer) : 0;
    return {.value = letter == reference ? 1.0 : 0.0,
            .extracted = CutForLog(answer),
            .decided_by = letter == 0 ? "the answer is not one choice" : ""};
  }

  absl::Status CheckReference(const v1::Prompt& prompt) const override {
    if (ReferenceOf(prompt) != 0) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("the reference answer \"", CutForLog(prompt.answer()),
                                                   "\" is not one of the choices ", options_.choices));
  }

 private:
  // 0 for what is not exactly one choice.
  char ReferenceOf(const v1::Prompt& prompt) const {
    const std::optional<std::string> reference = ReadReference(prompt.answer());
    return reference.has_value() ? ReadChoice(options_.choices, *reference) : 0;
  }

  const MultipleChoiceOptions options_;
};

}  // namespace

RewardRulePlugin RewardRule_multiple_choice() {
  return MakeRewardRulePlugin<MultipleChoiceOptions, MultipleChoiceRule>(
      "1 when the answer names the right choice and no other.", /*min_value=*/0, /*max_value=*/1);
}

}  // namespace grpo
