// How much of a text is written in one language: R1's measure against mixing languages (arXiv:2501.12948 section
// 2.3.2), words in the target language / words. The paper does not say what a word's language is; here it is its
// script, so languages that share one are not told apart. A word is two or more letters of one script, or one ideograph
// or syllable of Chinese and Japanese. Not counted: single letters of other scripts (variables), LaTeX commands and the
// four tags.
#ifndef GRPO_REWARD_LANGUAGE_H_
#define GRPO_REWARD_LANGUAGE_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "re2/re2.h"

namespace grpo {

// The languages that LanguageMeter knows, as the configuration names them. The texts live for ever.
std::vector<const char*> Languages();

// Immutable; any thread.
class LanguageMeter {
 public:
  // One of Languages().
  explicit LanguageMeter(const std::string& language);

  // The share of the words that are in the language's script, in [0, 1]; 0 without any word. Any bytes; linear in the
  // text.
  double Share(absl::string_view text) const;

 private:
  const RE2 word_;
};

}  // namespace grpo

#endif  // GRPO_REWARD_LANGUAGE_H_
