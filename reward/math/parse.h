// From the spelling of an answer to exact numbers: integers of any size, decimals, scientific notation, fractions (a/b,
// \frac), mixed numbers, signs, thousands separators, percent, a currency or degree sign, `x = 5`, and bare or braced
// lists of these. Nothing is ever evaluated: what is not of this grammar is not read, and sizes are checked before any
// arithmetic.
//
//   answer := item (separator item)*      | \{ answer \}  | { answer }  | ( item )
//   item   := [name "="] number           separator := "," | ";" | "and" | "or", also several in a row
//   number := [sign] [currency] [sign] magnitude [% | degree | currency]
//   magnitude := fraction | integer fraction (their sum) | literal ["/" literal | exponent]
// "(1, 2)" is not read: parentheses are ordered pairs or intervals, no numbers.
#ifndef GRPO_REWARD_MATH_PARSE_H_
#define GRPO_REWARD_MATH_PARSE_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "reward/math/rational.h"

namespace grpo::math {

struct Number {
  Rational value;
  // A decimal literal: the weight of its last digit, and its digits from the first that is not 0. Both 0 for exact
  // values.
  Rational last_digit;
  int64_t num_significant_digits = 0;
  // "%", "$", ...; empty for none. A value of "50%" is 50.
  std::string unit;
  // The left side of "x = 5".
  std::string name;
};

enum class Reading {
  kRead,
  // Not of this grammar, or a division by zero.
  kUnread,
  // Larger than the budget.
  kOverBudget,
};

struct ParseBudget {
  // Of scientific notation.
  int64_t max_exponent = 10000;
  // Numbers of one answer, all its parts together.
  int64_t max_items = 100;
};

// Reads the canonical spelling (math/text.h) of one part of an answer and appends its numbers, which count against the
// budget; *numbers is unspecified unless kRead comes back.
Reading ParseNumbers(absl::string_view canonical_spelling, const ParseBudget& budget, std::vector<Number>* numbers);

}  // namespace grpo::math

#endif  // GRPO_REWARD_MATH_PARSE_H_
