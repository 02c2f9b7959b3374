// The answer is a number within a tolerance of the reference: |answer - reference| <= absolute + relative *
// |reference|, in double precision. For exact comparison there is math_answer.
#include <cmath>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_replace.h"
#include "reward/answer.h"
#include "reward/rule_plugin.h"

namespace grpo {
namespace {

struct NumericOptions {
  AnswerOptions answer;
  std::string pattern;
  double absolute = 0;
  double relative = 1e-6;
  bool decimal_comma = false;

  template <class V>
  void Visit(V& v) {
    answer.Visit(v);
    v("pattern", pattern,
      {.help = "RE2 pattern whose first group, at its first match in the completion, is the number; empty: the "
               "extracted answer."});
    v("absolute", absolute, {.help = "Absolute tolerance.", .min = 0, .max = 1e300});
    v("relative", relative, {.help = "Tolerance as a fraction of the reference.", .min = 0, .max = 1});
    v("decimal_comma", decimal_comma,
      {.help =
           "\"1,2\" is 1.2 and \"1.234,5\" is 1234.5; three digits behind a comma and no point are thousands either "
           "way. Off, neither is a number."});
  }
};

// Commas between thousands and a currency sign in front are dropped; anything else around the number makes it none.
std::optional<double> ParseNumber(absl::string_view text) {
  static const auto* form =
      new RE2(R"(\s*([-+]?)\\?\$?((?:\d{1,3}(?:,\d{3})+|\d+|)(?:\.\d*)?(?:[eE][-+]?\d+)?)\s*)", RE2::Latin1);
  std::string sign, digits;
  double number = 0;
  if (!RE2::FullMatch({text.data(), text.size()}, *form, &sign, &digits) ||
      !absl::SimpleAtod(absl::StrCat(sign == "-" ? "-" : "", absl::StrReplaceAll(digits, {{",", ""}})), &number) ||
      !std::isfinite(number)) {
    return std::nullopt;
  }
  return number;
}

// With the decimal comma, what is no number otherwise is read with comma and point exchanged.
std::optional<double> ParseNumber(absl::string_view text, bool decimal_comma) {
  const std::optional<double> number = ParseNumber(text);
  if (number.has_value() || !decimal_comma) return number;
  return ParseNumber(absl::StrReplaceAll(text, {{",", "."}, {".", ","}}));
}

std::optional<double> ParseReference(const v1::Prompt& prompt, bool decimal_comma) {
  const std::optional<std::string> reference = ReadReference(prompt.answer());
  return reference.has_value() ? ParseNumber(*reference, decimal_comma) : std::nullopt;
}

class NumericRule final : public Rule {
 public:
  static absl::StatusOr<std::unique_ptr<Rule>> Create(const NumericOptions& options, const Section& section) {
    ASSIGN_OR_RETURN(std::unique_ptr<RE2> pattern, MakePattern(options.pattern, section, "pattern"));
    if (!options.pattern.empty() && pattern->NumberOfCapturingGroups() < 1) {
      return SectionError(section, "pattern", "has no group: put the number in parentheses");
    }
    return std::make_unique<NumericRule>(options, std::move(pattern));
  }
  NumericRule(const NumericOptions& options, std::unique_ptr<RE2> pattern)
      : options_(options), pattern_(std::move(pattern)) {}

  RuleResult Score(const RuleInput& input) const override {
    const std::optional<double> reference = ParseReference(input.prompt, options_.decimal_comma);
    if (!reference.has_value()) {
      return {.outcome = v1::OUTCOME_REFERENCE_UNPARSABLE, .decided_by = "the reference is no number"};
    }
    const std::optional<std::string> answer = Answer(input);
    if (!answer.has_value()) return {.outcome = v1::OUTCOME_NO_ANSWER};
    const std::optional<double> number = ParseNumber(*answer, options_.decimal_comma);
    const bool near = number.has_value() &&
                      std::abs(*number - *reference) <= options_.absolute + options_.relative * std::abs(*reference);
    return {.value = near ? 1.0 : 0.0,
            .extracted = CutForLog(*answer),
            .decided_by = number.has_value() ? "" : "the answer is no number"};
  }

  absl::Status CheckReference(const v1::Prompt& prompt) const override {
    if (ParseReference(prompt, options_.decimal_comma).has_value()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("the reference answer \"", CutForLog(prompt.answer()), "\" is no number; give one such as -3.5"));
  }

 private:
  std::optional<std::string> Answer(const RuleInput& input) const {
    if (options_.pattern.empty()) {
      const Extraction extraction = ReadAnswer(input, options_.answer);
      if (extraction.outcome != v1::OUTCOME_SCORED) return std::nullopt;
      return extraction.Text();
    }
    re2::StringPiece groups[2];
    const re2::StringPiece text(input.completion.data(), input.completion.size());
    if (!pattern_->Match(text, 0, text.size(), RE2::UNANCHORED, groups, 2)) return std::nullopt;
    return std::string(groups[1]);
  }

  const NumericOptions options_;
  const std::unique_ptr<RE2> pattern_;
};

}  // namespace

RewardRulePlugin RewardRule_numeric() {
  return MakeRewardRulePlugin<NumericOptions, NumericRule>("1 when the answer is a number within a tolerance.",
                                                           /*min_value=*/0, /*max_value=*/1);
}

}  // namespace grpo
