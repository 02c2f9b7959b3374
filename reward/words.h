// Lists of words that a sentence is searched for.
#ifndef GRPO_REWARD_WORDS_H_
#define GRPO_REWARD_WORDS_H_

#include <algorithm>
#include <initializer_list>

#include "absl/strings/string_view.h"

namespace grpo {

inline bool IsOneOf(absl::string_view word, std::initializer_list<absl::string_view> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

}  // namespace grpo

#endif  // GRPO_REWARD_WORDS_H_
