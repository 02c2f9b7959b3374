// open-r1's reasoning_steps_reward: min(1, hits / 3), where a hit is "Step 1:", a "1." at the very beginning, a line
// that begins with - or *, or one of "First,", "Second,", "Next,", "Finally,". Departure: digits are ASCII's, in Python
// Unicode's.
#include <algorithm>

#include "reward/answer.h"
#include "reward/rule_plugin.h"

namespace grpo {
namespace {

struct ReasoningStepsOptions {
  int64_t steps = 3;

  template <class V>
  void Visit(V& v) {
    v("steps", steps, {.help = "So many steps earn the whole reward.", .unit = "steps", .min = 1, .max = 100});
  }
};

class ReasoningStepsRule final : public Rule {
 public:
  explicit ReasoningStepsRule(const ReasoningStepsOptions& options) : options_(options) {}

  RuleResult Score(const RuleInput& input) const override {
    const int64_t hits = CountMatches(step_, input.completion, options_.steps);
    return {.value = std::min(1.0, static_cast<double>(hits) / static_cast<double>(options_.steps))};
  }

 private:
  const ReasoningStepsOptions options_;
  const RE2 step_{R"(Step \d+:|^\d+\.|\n-|\n\*|First,|Second,|Next,|Finally,)"};
};

}  // namespace

RewardRulePlugin RewardRule_reasoning_steps() {
  return MakeRewardRulePlugin<ReasoningStepsOptions, ReasoningStepsRule>(
      "The share of `steps` that the completion visibly takes: numbered, listed, or begun with First, Next, ...",
      /*min_value=*/0, /*max_value=*/1);
}

}  // namespace grpo
