// The cosine-scaled length reward (arXiv:2502.03373 appendix C.1), as TRL's get_cosine_scaled_reward: with
// p = min(length / max_tokens, 1) and c = (1 + cos(pi p)) / 2, a right completion gets min + (max - min) c of the right
// values, so that shorter is better; a wrong one max + (min - max) c of the wrong values, so that longer is better.
// Lengths in tokens. open-r1 counts characters and does not clamp p, so that past max_len its reward climbs again.
// Departures: what is right says another rule of the profile; a completion that it cannot judge counts as wrong.
#include <algorithm>
#include <cmath>

#include "reward/answer.h"
#include "reward/rule_plugin.h"

namespace grpo {
namespace {

struct CosineLengthOptions {
  BasisOptions basis;
  int64_t max_tokens = 0;
  double min_value_wrong = -1.0, max_value_wrong = -0.5, min_value_right = 0.5, max_value_right = 1.0;

  template <class V>
  void Visit(V& v) {
    basis.Visit(v);
    v("max_tokens", max_tokens,
      {.help = "Length at which the schedule ends.", .unit = "tokens", .min = 1, .max = 1e9, .required = true});
    v("min_value_wrong", min_value_wrong, {.help = "Of the shortest wrong completion.", .min = -1e6, .max = 1e6});
    v("max_value_wrong", max_value_wrong, {.help = "Of the longest wrong completion.", .min = -1e6, .max = 1e6});
    v("min_value_right", min_value_right, {.help = "Of the longest right completion.", .min = -1e6, .max = 1e6});
    v("max_value_right", max_value_right, {.help = "Of the shortest right completion.", .min = -1e6, .max = 1e6});
  }
};

class CosineLengthRule final : public Rule {
 public:
  explicit CosineLengthRule(const CosineLengthOptions& options) : options_(options) {}

  RuleNeeds Needs() const override { return {.ids = true, .basis = options_.basis.basis}; }
  std::optional<ValueRange> Range() const override {
    const auto [low, high] = std::minmax(
        {options_.min_value_wrong, options_.max_value_wrong, options_.min_value_right, options_.max_value_right});
    // The sum below may round past an end by a unit in the last place.
    return ValueRange{low - 1e-9, high + 1e-9};
  }

  RuleResult Score(const RuleInput& input) const override {
    const v1::Outcome outcome = BasisOutcome(input.basis);
    if (outcome != v1::OUTCOME_SCORED) return {.outcome = outcome, .decided_by = "the basis did not judge"};
    const double progress =
        std::min(static_cast<double>(input.ids.size()) / static_cast<double>(options_.max_tokens), 1.0);
    const bool right = options_.basis.IsRight(*input.basis);
    const double at_end = right ? options_.min_value_right : options_.max_value_wrong;
    const double at_start = right ? options_.max_value_right : options_.min_value_wrong;
    return {.value = at_end + 0.5 * (at_start - at_end) * (1.0 + std::cos(progress * M_PI))};
  }

 private:
  const CosineLengthOptions options_;
};

}  // namespace

RewardRulePlugin RewardRule_cosine_length() {
  return MakeRewardRulePlugin<CosineLengthOptions, CosineLengthRule>(
      "Right completions earn more when short, wrong ones lose less when long, along a cosine.", /*min_value=*/-1,
      /*max_value=*/1);
}

}  // namespace grpo
