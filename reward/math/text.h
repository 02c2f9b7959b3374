// The spelling of an answer, before anything in it is read as mathematics. Byte safe, linear in the text, no recursion.
// Thread-safe.
#ifndef GRPO_REWARD_MATH_TEXT_H_
#define GRPO_REWARD_MATH_TEXT_H_

#include <string>

#include "absl/strings/string_view.h"

namespace grpo::math {

// `text` without what surrounds an answer: blanks, one pair of $ $, $$ $$, \( \) or \[ \], ** of Markdown, final full
// stops. This is the form that is shown.
absl::string_view TrimDecoration(absl::string_view text);

// One spelling for what LaTeX, Unicode and plain text write in several ways, so that a parser knows one of each:
// TrimDecoration; \dfrac, \tfrac, \cfrac -> \frac; {,} -> ,; \$ -> $; \% -> %; U+2212 -> -; degree signs -> U+00B0;
// LaTeX's and Unicode's blanks -> a space; \left, \right and \! vanish; \text{...}, \boxed{...} and the like give their
// content between spaces.
std::string CanonicalSpelling(absl::string_view text);

// What answers are compared by when their meaning cannot be: the canonical spelling without the blanks that separate
// nothing, and without case when it is words only ("Monday", but not "X+1").
std::string ComparableText(absl::string_view canonical_spelling);

}  // namespace grpo::math

#endif  // GRPO_REWARD_MATH_TEXT_H_
