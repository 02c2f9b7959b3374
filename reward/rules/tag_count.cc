// Partial credit for the tags of R1's format, after open-r1's tag_count_reward: a quarter each for exactly one of
// "<think>\n", "\n</think>\n", "\n<answer>\n" and "\n</answer>". Departures: line_breaks off counts the bare tags; a
// prompt that ends in <think> is credited with it (open-r1 then never pays in full, its issue 560).
#include "reward/answer.h"
#include "reward/rule_plugin.h"

namespace grpo {
namespace {

struct TagCountOptions {
  bool line_breaks = true;
  bool prefill = false;

  template <class V>
  void Visit(V& v) {
    v("line_breaks", line_breaks,
      {.help = "A tag counts only with the line breaks around it that open-r1 asks for; off, the bare tag counts."});
    v("prefill", prefill,
      {.help = "The prompt's template already ends in <think>, which then must not come again. Found out by itself "
               "where the prompt's text ends in <think>."});
  }
};

// Without overlaps, as Python's str.count.
int64_t Count(absl::string_view text, absl::string_view tag) {
  int64_t count = 0;
  for (size_t at = text.find(tag); at != absl::string_view::npos; at = text.find(tag, at + tag.size())) ++count;
  return count;
}

class TagCountRule final : public Rule {
 public:
  explicit TagCountRule(const TagCountOptions& options) : options_(options) {}

  RuleResult Score(const RuleInput& input) const override {
    const bool prefill = options_.prefill || IsPrefilled(input.prompt);
    const bool breaks = options_.line_breaks;
    const absl::string_view text = input.completion;
    double value = 0;
    if (Count(text, breaks ? "<think>\n" : "<think>") == (prefill ? 0 : 1)) value += 0.25;
    if (Count(text, breaks ? "\n</think>\n" : "</think>") == 1) value += 0.25;
    if (Count(text, breaks ? "\n<answer>\n" : "<answer>") == 1) value += 0.25;
    if (Count(text, breaks ? "\n</answer>" : "</answer>") == 1) value += 0.25;
    return {.value = value};
  }

 private:
  const TagCountOptions options_;
};

}  // namespace

RewardRulePlugin RewardRule_tag_count() {
  return MakeRewardRulePlugin<TagCountOptions, TagCountRule>(
      "A quarter for each of <think>, </think>, <answer>, </answer> that is there exactly once.", /*min_value=*/0,
      /*max_value=*/1);
}

}  // namespace grpo
