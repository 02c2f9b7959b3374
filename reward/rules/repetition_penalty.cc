// The n-gram repetition penalty (arXiv:2502.03373 appendix C.2): (1 - distinct n-grams / n-grams) * max_penalty; 0 for
// fewer than n units. Over token ids as TRL's get_repetition_penalty_reward, or over lower-cased words as open-r1's.
// Departure: words are those of reward/repetition.h.
#include <string>

#include "reward/repetition.h"
#include "reward/rule_plugin.h"

namespace grpo {
namespace {

struct RepetitionPenaltyOptions {
  std::string unit = "tokens";
  int64_t ngram = 3;
  double max_penalty = -1.0;

  template <class V>
  void Visit(V& v) {
    v("unit", unit, {.help = "What an n-gram is made of.", .choices = {"tokens", "words"}});
    v("ngram", ngram, {.help = "Units in an n-gram.", .min = 1, .max = 64});
    v("max_penalty", max_penalty,
      {.help = "Value of a completion that does nothing but repeat itself.", .min = -1e6, .max = 0});
  }
};

class RepetitionPenaltyRule final : public Rule {
 public:
  explicit RepetitionPenaltyRule(const RepetitionPenaltyOptions& options) : options_(options) {}

  RuleNeeds Needs() const override { return {.ids = options_.unit == "tokens"}; }
  std::optional<ValueRange> Range() const override { return ValueRange{options_.max_penalty, 0}; }

  RuleResult Score(const RuleInput& input) const override {
    if (options_.unit == "tokens") return {.value = Penalty(input.ids)};
    return {.value = Penalty(WordIds(input.completion))};
  }

 private:
  double Penalty(absl::Span<const uint32_t> units) const {
    const double repeated = RepeatedFrac(units, options_.ngram);
    // Never -0.
    return repeated == 0 ? 0 : repeated * options_.max_penalty;
  }

  const RepetitionPenaltyOptions options_;
};

}  // namespace

RewardRulePlugin RewardRule_repetition_penalty() {
  return MakeRewardRulePlugin<RepetitionPenaltyOptions, RepetitionPenaltyRule>(
      "0 without repeated n-grams, falling to max_penalty.", /*min_value=*/-1, /*max_value=*/0);
}

}  // namespace grpo
