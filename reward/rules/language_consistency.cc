// R1's reward against mixing languages (arXiv:2501.12948 section 2.3.2): words in the target language / words. The
// paper does not say what a word's language is; here it is its script, so languages that share one are not told apart.
// A word is two or more letters of one script, or one ideograph or syllable of Chinese and Japanese. Not counted:
// single letters of other scripts (variables), LaTeX commands and the four tags. Without any word the value is 0.
#include <map>

#include "absl/strings/str_cat.h"
#include "reward/answer.h"
#include "reward/rule_plugin.h"

namespace grpo {
namespace {

struct LanguageConsistencyOptions {
  std::string language = "en";

  template <class V>
  void Visit(V& v) {
    v("language", language,
      {.help = "The language that completions are to keep to, told by its script.",
       .choices = {"en", "de", "fr", "es", "it", "pt", "zh", "ja", "ko", "ru", "uk", "ar", "he", "hi", "el", "th"}});
  }
};

// The inside of a character class.
std::string ScriptsOf(const std::string& language) {
  static const auto* scripts =
      new std::map<std::string, std::string>{{"zh", "\\p{Han}"},      {"ja", "\\p{Han}\\p{Hiragana}\\p{Katakana}"},
                                             {"ko", "\\p{Hangul}"},   {"ru", "\\p{Cyrillic}"},
                                             {"uk", "\\p{Cyrillic}"}, {"ar", "\\p{Arabic}"},
                                             {"he", "\\p{Hebrew}"},   {"hi", "\\p{Devanagari}"},
                                             {"el", "\\p{Greek}"},    {"th", "\\p{Thai}"}};
  const auto found = scripts->find(language);
  return found == scripts->end() ? "\\p{Latin}" : found->second;
}

class LanguageConsistencyRule final : public Rule {
 public:
  explicit LanguageConsistencyRule(const LanguageConsistencyOptions& options) : word_(Pattern(options.language)) {}

  RuleResult Score(const RuleInput& input) const override {
    const re2::StringPiece text(input.completion.data(), input.completion.size());
    re2::StringPiece groups[3];
    double target = 0, all = 0;
    for (size_t at = 0; word_.Match(text, at, text.size(), RE2::UNANCHORED, groups, 3);) {
      if (groups[1].data() != nullptr) ++target;
      if (groups[1].data() != nullptr || groups[2].data() != nullptr) ++all;
      at = groups[0].data() + groups[0].size() - text.data();
    }
    return {.value = all == 0 ? 0 : target / all};
  }

 private:
  static std::string Pattern(const std::string& language) {
    constexpr char kIdeograph[] = "\\p{Han}\\p{Hiragana}\\p{Katakana}";
    const std::string scripts = ScriptsOf(language);
    const bool by_character = language == "zh" || language == "ja";
    return absl::StrCat("\\\\[A-Za-z]+|</?(?:think|answer)>|([", scripts,
                        by_character ? "]" : "][\\p{M}" + scripts + "]+", ")|([", kIdeograph, "]|[^\\P{L}", kIdeograph,
                        "][^\\P{L}", kIdeograph, "]+)");
  }

  const RE2 word_;
};

}  // namespace

RewardRulePlugin RewardRule_language_consistency() {
  return MakeRewardRulePlugin<LanguageConsistencyOptions, LanguageConsistencyRule>(
      "The share of words written in the target language's script.", /*min_value=*/0, /*max_value=*/1);
}

}  // namespace grpo
