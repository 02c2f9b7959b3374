// The n-gram repetition penalty (arXiv:2502.03373 appendix C.2): (1 - distinct n-grams / n-grams) * max_penalty; 0 for
// fewer than n units. Over token ids as TRL's get_repetition_penalty_reward, or over lower-cased words as open-r1's.
// Departure: words are told apart by ASCII blanks and lower-cased in ASCII; Python knows Unicode's.
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
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

// Each word as a number, equal for equal words.
std::vector<uint32_t> WordIds(absl::string_view text) {
  absl::flat_hash_map<std::string, uint32_t> numbers;
  std::vector<uint32_t> ids;
  for (size_t at = 0; at < text.size();) {
    size_t end = at;
    while (end < text.size() && !absl::ascii_isspace(text[end])) ++end;
    if (end > at) {
      const auto number = static_cast<uint32_t>(numbers.size());
      ids.push_back(numbers.emplace(absl::AsciiStrToLower(text.substr(at, end - at)), number).first->second);
    }
    at = end + 1;
  }
  return ids;
}

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
  double Penalty(absl::Span<const uint32_t> ids) const {
    const size_t n = static_cast<size_t>(options_.ngram);
    if (ids.size() < n) return 0;
    const size_t count = ids.size() - n + 1;
    // Keyed by the ids' bytes, so that nothing is copied.
    absl::flat_hash_set<absl::string_view> distinct;
    for (size_t i = 0; i < count; ++i) {
      distinct.insert(absl::string_view(reinterpret_cast<const char*>(&ids[i]), n * sizeof(uint32_t)));
    }
    const double repeated = 1 - static_cast<double>(distinct.size()) / static_cast<double>(count);
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
