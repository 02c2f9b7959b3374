// The soft overlong punishment of DAPO (arXiv:2503.14476 eq. 13), as TRL's get_soft_overlong_punishment. With length in
// tokens, the end-of-sequence token included:
//   0                                         up to max_tokens - cache_tokens
//   (max_tokens - cache_tokens - length) / cache_tokens    up to max_tokens
//   -1                                        beyond
#include "reward/rule_plugin.h"

namespace grpo {
namespace {

struct SoftOverlongOptions {
  int64_t max_tokens = 0;
  int64_t cache_tokens = 0;

  template <class V>
  void Visit(V& v) {
    v("max_tokens", max_tokens,
      {.help = "L_max: longer completions get -1.", .unit = "tokens", .min = 1, .max = 1e9, .required = true});
    v("cache_tokens", cache_tokens,
      {.help = "L_cache: from max_tokens less this on, the punishment grows linearly; 0 punishes only beyond "
               "max_tokens.",
       .unit = "tokens",
       .min = 0,
       .max = 1e9});
  }
};

class SoftOverlongRule final : public Rule {
 public:
  static absl::StatusOr<std::unique_ptr<Rule>> Create(const SoftOverlongOptions& options, const Section& section) {
    if (options.cache_tokens > options.max_tokens) {
      return SectionError(section, "cache_tokens",
                          absl::StrCat(options.cache_tokens, " is more than max_tokens ", options.max_tokens));
    }
    return std::make_unique<SoftOverlongRule>(options);
  }
  explicit SoftOverlongRule(const SoftOverlongOptions& options) : options_(options) {}

  RuleNeeds Needs() const override { return {.ids = true}; }

  RuleResult Score(const RuleInput& input) const override {
    const int64_t length = static_cast<int64_t>(input.ids.size());
    const int64_t free = options_.max_tokens - options_.cache_tokens;
    if (length <= free) return {.value = 0};
    if (length > options_.max_tokens) return {.value = -1};
    return {.value = static_cast<double>(free - length) / static_cast<double>(options_.cache_tokens)};
  }

 private:
  const SoftOverlongOptions options_;
};

}  // namespace

RewardRulePlugin RewardRule_soft_overlong() {
  return MakeRewardRulePlugin<SoftOverlongOptions, SoftOverlongRule>(
      "0 for completions with room to spare, falling to -1 at max_tokens (DAPO).", /*min_value=*/-1, /*max_value=*/0);
}

}  // namespace grpo
