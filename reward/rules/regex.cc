// A pattern of one's own, in YAML alone: whether or how often it is found, or whether what its first group holds is the
// reference answer.
#include <algorithm>

#include "absl/strings/strip.h"
#include "reward/answer.h"
#include "reward/rule_plugin.h"

namespace grpo {
namespace {

struct RegexOptions {
  AnswerOptions answer;
  std::string pattern;
  std::string where = "completion";
  std::string value = "found";
  int64_t times = 1;

  template <class V>
  void Visit(V& v) {
    answer.Visit(v);
    v("pattern", pattern,
      {.help = "RE2 pattern; it may match anywhere unless it begins with ^ and ends with $. (?s) lets . match line "
               "breaks, (?i) ignores case.",
       .required = true});
    v("where", where,
      {.help = "What is searched: all of the completion, the extracted answer, or what stands in <think>.",
       .choices = {"completion", "answer", "thinking"}});
    v("value", value,
      {.help =
           "found: matches / times, at most 1. absent: 1 without a match, else 0. equals_answer: 1 when the text of "
           "the pattern's first group is the reference answer, no_answer without a match.",
       .choices = {"found", "absent", "equals_answer"}});
    v("times", times, {.help = "So many matches earn the whole value of `found`.", .min = 1, .max = 1000});
  }
};

class RegexRule final : public Rule {
 public:
  static absl::StatusOr<std::unique_ptr<Rule>> Create(const RegexOptions& options, const Section& section) {
    ASSIGN_OR_RETURN(std::unique_ptr<RE2> pattern, MakePattern(options.pattern, section, "pattern"));
    if (options.value == "equals_answer" && pattern->NumberOfCapturingGroups() < 1) {
      return SectionError(section, "pattern", "has no group for equals_answer: put the answer in parentheses");
    }
    return std::make_unique<RegexRule>(options, std::move(pattern));
  }
  RegexRule(const RegexOptions& options, std::unique_ptr<RE2> pattern)
      : options_(options), pattern_(std::move(pattern)) {}

  RuleResult Score(const RuleInput& input) const override {
    std::string answer;
    absl::string_view text = input.completion;
    if (options_.where == "thinking") text = ThinkingOf(input);
    if (options_.where == "answer") {
      const Extraction extraction = ReadAnswer(input, options_.answer);
      if (extraction.outcome != v1::OUTCOME_SCORED) return {.outcome = extraction.outcome};
      answer = extraction.Text();
      text = answer;
    }
    if (options_.value == "equals_answer") return Compare(text, input.prompt.answer());
    const int64_t enough = options_.value == "absent" ? 1 : options_.times;
    const double share = static_cast<double>(CountMatches(*pattern_, text, enough)) / static_cast<double>(enough);
    return {.value = options_.value == "absent" ? 1 - share : share, .extracted = CutForLog(answer)};
  }

 private:
  RuleResult Compare(absl::string_view text, absl::string_view reference) const {
    re2::StringPiece groups[2];
    if (!pattern_->Match({text.data(), text.size()}, 0, text.size(), RE2::UNANCHORED, groups, 2)) {
      return {.outcome = v1::OUTCOME_NO_ANSWER, .decided_by = "the pattern does not match"};
    }
    const absl::string_view found = absl::StripAsciiWhitespace({groups[1].data(), groups[1].size()});
    return {.value = found == absl::StripAsciiWhitespace(reference) ? 1.0 : 0.0, .extracted = CutForLog(found)};
  }

  const RegexOptions options_;
  const std::unique_ptr<RE2> pattern_;
};

}  // namespace

RewardRulePlugin RewardRule_regex() {
  return MakeRewardRulePlugin<RegexOptions, RegexRule>(
      "Whether a pattern of one's own is found, or its first group is the reference answer.", /*min_value=*/0,
      /*max_value=*/1);
}

}  // namespace grpo
