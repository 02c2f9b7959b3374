// The answer is the letter of the right choice: B, (B), B., "B) Paris", \text{B}, in any case. Naming two choices is
// wrong, also when one is right.
#include "absl/strings/ascii.h"
#include "reward/answer.h"
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
  explicit MultipleChoiceRule(const MultipleChoiceOptions& options)
      : options_(options),
        hedge_(absl::StrCat(R"((?i)(?:\bor\b|\band\b|[,;/&])\s*(?:\\text\{)?[(\[]?[)", options.choices, R"(]\b)")) {}

  RuleResult Score(const RuleInput& input) const override {
    const char reference = Letter(input.prompt.answer());
    if (reference == 0)
      return {.outcome = v1::OUTCOME_REFERENCE_UNPARSABLE, .decided_by = "the reference is no choice"};
    const Extraction extraction = ReadAnswer(input, options_.answer);
    if (extraction.outcome != v1::OUTCOME_SCORED) return {.outcome = extraction.outcome};
    const std::string answer = extraction.Text();
    const char letter = extraction.parts.size() == 1 ? Letter(answer) : 0;
    return {.value = letter == reference ? 1.0 : 0.0,
            .extracted = CutForLog(answer),
            .decided_by = letter == 0 ? "the answer is not one choice" : ""};
  }

  absl::Status CheckReference(const v1::Prompt& prompt) const override {
    if (Letter(prompt.answer()) != 0) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("the reference answer \"", CutForLog(prompt.answer()),
                                                   "\" is not one of the choices ", options_.choices));
  }

 private:
  // 0 for what is not exactly one choice.
  char Letter(absl::string_view text) const {
    const absl::string_view trimmed = absl::StripAsciiWhitespace(text);
    const re2::StringPiece piece(trimmed.data(), trimmed.size());
    re2::StringPiece letter, rest;
    if (!RE2::FullMatch(piece, form_, &letter, &rest) || RE2::PartialMatch(rest, hedge_)) return 0;
    const char upper = absl::ascii_toupper(letter[0]);
    return options_.choices.find(upper) == std::string::npos ? 0 : upper;
  }

  const MultipleChoiceOptions options_;
  // A letter, perhaps in parentheses or \text, perhaps a mark and the choice's text behind it.
  const RE2 form_{R"((?s)(?:\\text(?:bf)?\{)?[(\[]?([A-Za-z])[)\]]?\}?((?:[.:)]|\s[-:]\s|\s).*|))", RE2::Latin1};
  const RE2 hedge_;
};

}  // namespace

RewardRulePlugin RewardRule_multiple_choice() {
  return MakeRewardRulePlugin<MultipleChoiceOptions, MultipleChoiceRule>(
      "1 when the answer names the right choice and no other.", /*min_value=*/0, /*max_value=*/1);
}

}  // namespace grpo
