// What surrounds an answer and does not belong to it. Byte safe, linear in the text, no recursion. Thread-safe.
#ifndef GRPO_REWARD_MATH_TEXT_H_
#define GRPO_REWARD_MATH_TEXT_H_

#include "absl/strings/string_view.h"

namespace grpo::math {

// `text` without what surrounds an answer: blanks and TeX's spaces, one pair of $ $, $$ $$, \( \) or \[ \], ** of
// Markdown, commas and semicolons, final full stops. This is the form that is shown.
absl::string_view TrimDecoration(absl::string_view text);

}  // namespace grpo::math

#endif  // GRPO_REWARD_MATH_TEXT_H_
