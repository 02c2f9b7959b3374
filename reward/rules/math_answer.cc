// The accuracy reward of R1-Zero (arXiv:2501.12948 section 2.2.2): 1 when the extracted answer (reward/extract.h)
// equals the reference (reward/math/equal.h), 0 when it differs, and otherwise the outcome that says why there is
// neither.
//
// A reference that is a whole solution is read like a completion (reward/answer.h). One that cannot be read excludes
// every completion of its prompt, also those without an answer, but for one that repeats it: a baseline over some of
// them would be a number about nothing.
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "re2/re2.h"
#include "reward/answer.h"
#include "reward/extract.h"
#include "reward/math/equal.h"
#include "reward/rule_plugin.h"

namespace grpo {
namespace {

struct MathAnswerOptions {
  bool prefill = false;
  bool answer_tags = true;
  bool boxes = true;
  bool hash_lines = true;
  bool phrases = true;
  bool plain_fallback = false;
  bool decimal_comma = false;
  int64_t min_digits = 6;
  int64_t max_answer_chars = 20000;

  template <class V>
  void Visit(V& v) {
    v("prefill", prefill,
      {.help = "The prompt's template already ends in <think>, so completions start inside it. Found out by itself "
               "where the prompt's text ends "
               "in <think>."});
    v("answer_tags", answer_tags,
      {.help = "Where there is an <answer> tag, only the content of the last whole pair counts; off, tags are text."});
    v("boxes", boxes, {.help = "Read the answer from the last \\boxed{}."});
    v("hash_lines", hash_lines, {.help = "Without a box, read it from the last line that begins with \"#### \"."});
    v("phrases", phrases, {.help = "Without those, read it from the last \"answer is\" or \"answer:\"."});
    v("plain_fallback", plain_fallback,
      {.help = "Where nothing marks an answer, take the last formula or number. Pays for any number that happens to "
               "come last."});
    v("decimal_comma", decimal_comma,
      {.help =
           "\"1,2\" without a blank may be the decimal 1.2, in reference and answer; off, it is a list of 1 and 2 and "
           "nothing else. Three digits behind a comma are thousands either way."});
    v("min_digits", min_digits,
      {.help = "A decimal that only approximates an exact answer must show so many significant digits, all right.",
       .unit = "digits",
       .min = 1,
       .max = 1000});
    v("max_answer_chars", max_answer_chars,
      {.help = "A longer answer is not compared but over_budget; bounds the time that one completion can take.",
       .unit = "bytes",
       .min = 1,
       .max = 1e6});
  }
};

// "72 per week" with the unit marked as text, which is how reward/math reads a rate without a unit before it.
std::string WithRateAsText(const std::string& answer) {
  static const auto* form =
      new RE2(R"((?i)\s*((?:\\?\$)?\s*-?[0-9][0-9.,]*)\s+(per\s+[a-z]+(?:\s+[a-z]+){0,2})\s*)", RE2::Latin1);
  std::string number, rate;
  if (!RE2::FullMatch(answer, *form, &number, &rate)) return answer;
  return absl::StrCat(number, "\\text{ ", rate, "}");
}

class MathAnswerRule final : public Rule {
 public:
  explicit MathAnswerRule(const MathAnswerOptions& options)
      : options_(options),
        equal_{.min_digits = options.min_digits,
               .decimal_comma = options.decimal_comma,
               .max_answer_chars = options.max_answer_chars} {
    math::ReadUnits();
  }

  RuleResult Score(const RuleInput& input) const override {
    const Extraction extraction =
        ExtractAnswer(input.completion, {.answer_tags = options_.answer_tags,
                                         .boxes = options_.boxes,
                                         .hash_lines = options_.hash_lines,
                                         .phrases = options_.phrases,
                                         .prefill = options_.prefill || IsPrefilled(input.prompt),
                                         .plain_fallback = options_.plain_fallback});
    if (extraction.outcome != v1::OUTCOME_SCORED) {
      if (CheckReference(input.prompt).ok()) return {.outcome = extraction.outcome, .decided_by = "there is no answer"};
      return {.outcome = v1::OUTCOME_REFERENCE_UNPARSABLE, .decided_by = "the reference cannot be read"};
    }
    math::EqualOptions equal = equal_;
    equal.explain = input.explain;
    const std::optional<std::string> reference = ReadReference(input.prompt.answer());
    if (!reference.has_value()) {
      return {.outcome = v1::OUTCOME_REFERENCE_UNPARSABLE,
              .decided_by = "the reference is a solution without an answer"};
    }
    std::vector<std::string> parts;
    for (const std::string& part : extraction.parts) parts.push_back(WithRateAsText(part));
    math::Comparison comparison = math::Equal(WithRateAsText(*reference), parts, equal);
    return {.outcome = comparison.outcome,
            .value = comparison.equal.value_or(false) ? 1.0 : 0.0,
            .extracted = CutForLog(extraction.Text()),
            .decided_by = comparison.rule,
            .reference_form = std::move(comparison.gold_form),
            .answer_form = std::move(comparison.pred_form)};
  }

  absl::Status CheckReference(const v1::Prompt& prompt) const override {
    const std::optional<std::string> reference = ReadReference(prompt.answer());
    if (reference.has_value()) return math::CheckReadable(WithRateAsText(*reference), equal_);
    return absl::InvalidArgumentError(
        absl::StrCat("the reference \"", CutForLog(prompt.answer()).substr(0, 200),
                     "\" is a solution in which no answer is found; end it in "
                     "\\boxed{ANSWER} or a line \"#### ANSWER\", or give the answer alone"));
  }

 private:
  const MathAnswerOptions options_;
  const math::EqualOptions equal_;
};

}  // namespace

RewardRulePlugin RewardRule_math_answer() {
  return MakeRewardRulePlugin<MathAnswerOptions, MathAnswerRule>(
      "1 when the completion's answer equals the reference answer, 0 when it differs.",
      /*min_value=*/0, /*max_value=*/1);
}

}  // namespace grpo
