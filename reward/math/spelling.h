// What Unicode, plain text and LaTeX's synonyms are written as in tokens.
#ifndef GRPO_REWARD_MATH_SPELLING_H_
#define GRPO_REWARD_MATH_SPELLING_H_

#include <string>

#include "absl/strings/string_view.h"

namespace grpo::math {

// `text` with LaTeX for what Unicode has characters of its own for: roots, fractions, superscripts, Greek letters,
// signs.
std::string WithoutUnicode(absl::string_view text);

// The command that `command` is a synonym of, itself when it has none: "dfrac" -> "frac", "le" -> "leq".
absl::string_view CommandSynonym(absl::string_view command);

// Whether LaTeX has a command of this name that answers use; names of one letter are none.
bool IsKnownCommand(absl::string_view command);

// Commands that only shape the page: "left", "displaystyle", "quad".
bool IsLayoutCommand(absl::string_view command);

// Commands whose argument is text, or that change nothing in it: "text", "mathrm", "boxed".
bool IsWrapperCommand(absl::string_view command);

// The command that a word of plain text stands for, empty when it is only a word: "sqrt", "pi", "alpha", "infinity".
absl::string_view CommandOfWord(absl::string_view word);

}  // namespace grpo::math

#endif  // GRPO_REWARD_MATH_SPELLING_H_
