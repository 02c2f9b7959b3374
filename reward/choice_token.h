// A text in which choices are named, as words and marks (reward/choice.h).
#ifndef GRPO_REWARD_CHOICE_TOKEN_H_
#define GRPO_REWARD_CHOICE_TOKEN_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace grpo {

struct ChoiceToken {
  // A letter is one of ASCII that stands by itself; a mark is one character; an operator is any sign of mathematics.
  enum Kind { kLetter, kWord, kNumber, kMark, kOperator } kind = kMark;
  // As it is written; of a word in lower case, with plain apostrophes.
  std::string text = {};
  bool is_capital = false;
  // Blanks before it.
  bool is_spaced = false;
  // A letter that brackets, or marks of Markdown, LaTeX or quotation, surround.
  bool is_bracketed = false, is_quoted = false;

  bool IsMark(char mark) const { return kind == kMark && text[0] == mark; }
  bool IsWord(absl::string_view word) const { return kind == kWord && text == word; }
};

// Marks of Markdown and LaTeX, quotes, and brackets around a single letter are gone; full-width punctuation is ASCII's.
// Any bytes; linear in the text. Thread-safe.
std::vector<ChoiceToken> TokenizeChoices(absl::string_view text);

}  // namespace grpo

#endif  // GRPO_REWARD_CHOICE_TOKEN_H_
