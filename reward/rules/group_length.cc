// The length reward of Kimi k1.5 (arXiv:2501.12599 section 2.3.3), as open-r1's len_reward: over a group,
// l = 0.5 - (length - min) / (max - min); a right completion gets l, a wrong one min(0, l); all equally long get 0.
// Departures from open-r1: lengths are tokens, as in the paper, not characters; completions that the basis could not
// judge for a reason of ours are left out of min and max and have its outcome (open-r1 counts them as right).
#include <algorithm>
#include <limits>

#include "reward/answer.h"
#include "reward/rule_plugin.h"

namespace grpo {
namespace {

struct GroupLengthOptions {
  BasisOptions basis;

  template <class V>
  void Visit(V& v) {
    basis.Visit(v);
  }
};

class GroupLengthRule final : public Rule {
 public:
  explicit GroupLengthRule(const GroupLengthOptions& options) : options_(options) {}

  RuleNeeds Needs() const override { return {.ids = true, .group = true, .basis = options_.basis.basis}; }

  RuleResult Score(const RuleInput& input) const override { return ScoreGroup({&input, 1})[0]; }

  std::vector<RuleResult> ScoreGroup(absl::Span<const RuleInput> group) const override {
    double shortest = std::numeric_limits<double>::infinity(), longest = 0;
    for (const RuleInput& input : group) {
      if (BasisOutcome(input.basis) != v1::OUTCOME_SCORED) continue;
      shortest = std::min(shortest, static_cast<double>(input.ids.size()));
      longest = std::max(longest, static_cast<double>(input.ids.size()));
    }
    std::vector<RuleResult> results;
    for (const RuleInput& input : group) {
      const v1::Outcome outcome = BasisOutcome(input.basis);
      if (outcome != v1::OUTCOME_SCORED) {
        results.push_back({.outcome = outcome, .decided_by = "the basis did not judge"});
      } else if (shortest == longest) {
        results.push_back({.value = 0});
      } else {
        const double value = 0.5 - (static_cast<double>(input.ids.size()) - shortest) / (longest - shortest);
        results.push_back({.value = options_.basis.IsRight(*input.basis) ? value : std::min(0.0, value)});
      }
    }
    return results;
  }

 private:
  const GroupLengthOptions options_;
};

}  // namespace

RewardRulePlugin RewardRule_group_length() {
  return MakeRewardRulePlugin<GroupLengthOptions, GroupLengthRule>(
      "0.5 for the shortest of a group falling to -0.5 for the longest, never above 0 for a wrong one (Kimi k1.5).",
      /*min_value=*/-0.5, /*max_value=*/0.5);
}

}  // namespace grpo
