// The format reward of R1-Zero (arXiv:2501.12948 section 2.2.2), stricter than the implementations that pay for empty
// or repeated tags: after trimming blanks the completion is exactly <think>R</think> blanks <answer>A</answer>, each
// tag once, R and A not blank.
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "reward/extract.h"
#include "reward/rule_plugin.h"

namespace grpo {
namespace {

struct FormatTagsOptions {
  bool prefill = false;

  template <class V>
  void Visit(V& v) {
    v("prefill", prefill,
      {.help = "The prompt's template already ends in <think>, so completions start inside it. Found out by itself "
               "where the prompt's text ends "
               "in <think>."});
  }
};

// Takes everything up to and including the first `tag` off *text; `before` is what stood before it. False when it is
// not there.
bool ConsumeThrough(absl::string_view tag, absl::string_view* text, absl::string_view* before) {
  const size_t at = text->find(tag);
  if (at == absl::string_view::npos) return false;
  *before = text->substr(0, at);
  text->remove_prefix(at + tag.size());
  return true;
}

bool IsBlank(absl::string_view text) {
  return absl::StripAsciiWhitespace(text).empty();
}

bool HoldsTag(absl::string_view text) {
  for (const absl::string_view tag : {"<think>", "</think>", "<answer>", "</answer>"}) {
    if (absl::StrContains(text, tag)) return true;
  }
  return false;
}

bool IsThinkThenAnswer(absl::string_view completion, bool prefill) {
  absl::string_view rest = absl::StripAsciiWhitespace(completion);
  if (!prefill && !absl::ConsumePrefix(&rest, "<think>")) return false;
  absl::string_view thinking, between, answer;
  return ConsumeThrough("</think>", &rest, &thinking) && ConsumeThrough("<answer>", &rest, &between) &&
         ConsumeThrough("</answer>", &rest, &answer) && rest.empty() && IsBlank(between) && !IsBlank(thinking) &&
         !IsBlank(answer) && !HoldsTag(thinking) && !HoldsTag(answer);
}

class FormatTagsRule final : public Rule {
 public:
  explicit FormatTagsRule(const FormatTagsOptions& options) : options_(options) {}

  RuleResult Score(const RuleInput& input) const override {
    const bool prefill = options_.prefill || IsPrefilled(input.prompt);
    return {.value = IsThinkThenAnswer(input.completion, prefill) ? 1.0 : 0.0};
  }

 private:
  const FormatTagsOptions options_;
};

}  // namespace

RewardRulePlugin RewardRule_format_tags() {
  return MakeRewardRulePlugin<FormatTagsOptions, FormatTagsRule>(
      "1 when the completion is exactly <think>...</think><answer>...</answer> with something in both, otherwise 0.",
      /*min_value=*/0, /*max_value=*/1);
}

}  // namespace grpo
