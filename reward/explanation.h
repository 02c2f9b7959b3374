// What explains a stated answer and is no part of it: bold marks, "therefore" in front, a clause behind it.
//
// A clause is cut off only when it cannot change what is stated:
//   - it holds no word that takes back, widens or changes ("or", "not", "but", "if", "half", "minus");
//   - it holds no value, unless it gives a reason (", since 48 + 24 = 72"), and then none behind "so" and the like;
//   - a parenthesis with a value equals what stands before it: "72 (48 + 24)".
// The words directly behind a number stay: they may be a unit ("72 per week"), and reward/math knows which may be
// forgiven; so does the word of "72 (cm)". In doubt everything stays, and is then not read as an answer.
#ifndef GRPO_REWARD_EXPLANATION_H_
#define GRPO_REWARD_EXPLANATION_H_

#include <string>

#include "absl/strings/string_view.h"

namespace grpo {

// All of these take any bytes and are linear in the text. Thread-safe.

// `text` without what math::TrimDecoration strips, and without commas, semicolons, colons and TeX's spaces at its ends and
// braces there that close what began before it.
absl::string_view TrimmedAnswer(absl::string_view text);

// `sentence`, which states an answer, without what explains it, trimmed. One above 4096 bytes is only trimmed.
std::string WithoutExplanation(absl::string_view sentence);

}  // namespace grpo

#endif  // GRPO_REWARD_EXPLANATION_H_
