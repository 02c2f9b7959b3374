// Words in a text, and lists of them.
#ifndef GRPO_REWARD_WORDS_H_
#define GRPO_REWARD_WORDS_H_

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace grpo {

inline bool IsOneOf(absl::string_view word, absl::Span<const absl::string_view> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// Whether two letters stand side by side, TeX's commands aside: a formula has no words.
inline bool HoldsWord(absl::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      while (i + 1 < text.size() && absl::ascii_isalpha(text[i + 1])) ++i;
    } else if (i + 1 < text.size() && absl::ascii_isalpha(text[i]) && absl::ascii_isalpha(text[i + 1])) {
      return true;
    }
  }
  return false;
}

}  // namespace grpo

#endif  // GRPO_REWARD_WORDS_H_
