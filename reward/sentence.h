// A sentence as words, values and marks, and what words do in it (reward/explanation.h).
#ifndef GRPO_REWARD_SENTENCE_H_
#define GRPO_REWARD_SENTENCE_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace grpo {

// One word, value or mark. A value is a number, a number's word, a name of mathematics or any other sign of it.
struct Piece {
  enum Kind { kWord, kValue, kComma, kDash, kOpen, kClose, kOther } kind = kOther;
  size_t begin = 0, end = 0;
  // Brackets around it; of a bracket, those outside of it.
  int depth = 0;
  // Of a word, in lower case; a curly apostrophe is a plain one.
  std::string word = {};
  bool is_capital = false;
};

// Any bytes; linear in the text. Thread-safe.
std::vector<Piece> SplitSentence(absl::string_view text);

// Of words in lower case.
// Words that take back, widen or change what is stated before them or behind them.
bool IsHedge(absl::string_view word);
// Words that begin a clause that gives a reason, also one with a value.
bool IsReason(absl::string_view word);
// Words that begin a conclusion: a value behind one is stated anew.
bool IsConclusion(absl::string_view word);
// Words that a clause begins with, whatever is stated before it; conclusions are some of them.
bool IsConnective(absl::string_view word);

}  // namespace grpo

#endif  // GRPO_REWARD_SENTENCE_H_
