// R1's reward against mixing languages (arXiv:2501.12948 section 2.3.2), as reward/language.h measures it.
#include "reward/language.h"
#include "reward/rule_plugin.h"

namespace grpo {
namespace {

struct LanguageConsistencyOptions {
  std::string language = "en";

  template <class V>
  void Visit(V& v) {
    v("language", language,
      {.help = "The language that completions are to keep to, told by its script.", .choices = Languages()});
  }
};

class LanguageConsistencyRule final : public Rule {
 public:
  explicit LanguageConsistencyRule(const LanguageConsistencyOptions& options) : meter_(options.language) {}

  RuleResult Score(const RuleInput& input) const override { return {.value = meter_.Share(input.completion)}; }

 private:
  const LanguageMeter meter_;
};

}  // namespace

RewardRulePlugin RewardRule_language_consistency() {
  return MakeRewardRulePlugin<LanguageConsistencyOptions, LanguageConsistencyRule>(
      "The share of words written in the target language's script.", /*min_value=*/0, /*max_value=*/1);
}

}  // namespace grpo
