// GSM8K's strict reward as verl's gsm8k scorer: the last "#### NUMBER" of the completion, commas and dollar signs
// removed, is the reference's text to the letter. Departure: verl looks only at the last 300 characters, and so misses
// an answer with much text behind it (its issue 2150); here the whole completion is searched.
#include "absl/strings/ascii.h"
#include "absl/strings/str_replace.h"
#include "reward/answer.h"
#include "reward/rule_plugin.h"

namespace grpo {
namespace {

struct Gsm8kStrictOptions {
  template <class V>
  void Visit(V& v) {}
};

std::string Plain(absl::string_view number) {
  return absl::StrReplaceAll(number, {{",", ""}, {"$", ""}});
}

class Gsm8kStrictRule final : public Rule {
 public:
  explicit Gsm8kStrictRule(const Gsm8kStrictOptions&) {}

  RuleResult Score(const RuleInput& input) const override {
    const std::string reference = Reference(input.prompt);
    if (reference.empty()) return {.outcome = v1::OUTCOME_REFERENCE_UNPARSABLE, .decided_by = "the reference is empty"};
    re2::StringPiece number;
    // Greedy, so that the last one is found in one pass.
    const re2::StringPiece text(input.completion.data(), input.completion.size());
    if (!RE2::PartialMatch(text, last_, &number)) {
      return {.outcome = v1::OUTCOME_NO_ANSWER, .decided_by = "there is no \"#### NUMBER\""};
    }
    const absl::string_view found(number.data(), number.size());
    return {.value = Plain(found) == reference ? 1.0 : 0.0, .extracted = CutForLog(found)};
  }

  absl::Status CheckReference(const v1::Prompt& prompt) const override {
    if (!Reference(prompt).empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        "the reference answer is empty; give a number, or a solution that ends in \"#### "
        "NUMBER\"");
  }

 private:
  // GSM8K's own answers are whole solutions.
  static std::string Reference(const v1::Prompt& prompt) {
    const absl::string_view answer = prompt.answer();
    const size_t mark = answer.rfind("#### ");
    return Plain(absl::StripAsciiWhitespace(mark == absl::string_view::npos ? answer : answer.substr(mark + 5)));
  }

  // Bytes, not characters: what is not UTF-8 must not hide an answer.
  const RE2 last_{R"((?s)^.*#### (-?[0-9.,]+))", RE2::Latin1};
};

}  // namespace

RewardRulePlugin RewardRule_gsm8k_strict() {
  return MakeRewardRulePlugin<Gsm8kStrictOptions, Gsm8kStrictRule>(
      "1 when the last \"#### NUMBER\" is the reference number to the letter.", /*min_value=*/0, /*max_value=*/1);
}

}  // namespace grpo
