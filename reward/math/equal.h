// Whether two answers are equal. The conventions:
//   - numbers and expressions are compared exactly; 50% equals 50, 0.5 and 1/2, but 0.5 is not 50;
//   - a missing unit, currency or degree sign is forgiven, a different one is not, a convertible one (2 hours, 120
//   minutes) is equal;
//   - x=5 equals 5, but not y=5; a chain of equalities is its last member, when those before it say the same; an
//   inequality equals its interval; (1,2) is a pair or an interval by its counterpart;
//   - a congruence says the same with any representative; a chain of inequalities may be turned round;
//   - bare and braced lists are unordered sets, so 5 is not answered by "5 or 6"; parentheses are ordered; the list 1,2
//   is not the decimal 1.2;
//   - text ignores case, \text{} and the parentheses of a choice's letter; two or more letters that nothing marks as
//   mathematics on either side are text, too: "dog" is not "god", but x, y and z alone are factors, and so are letters
//   after "n =" and beside an answer with an operator, ab = a*b;
//   - a comma, semicolon or TeX space at either end belongs to the sentence;
//   - a decimal literal equals an exact value when it is that value, or when it shows at least min_digits significant
//   digits and they are the value's first ones, cut off or rounded; two decimals, and two exact values, are equal only
//   when their values are;
//   - zero is never matched by a small number.
// Where an answer cannot be read, only the same text counts as equal. A decision that is not made is said, never
// guessed:
//   UNDECIDED              the reference was read, the prediction was not, or nothing is proven;
//   OVER_BUDGET            the prediction is longer or larger than the budget;
//   REFERENCE_UNPARSABLE   the reference cannot be read or is over the budget, and the prediction does not repeat it.
//   Nothing can be said about such a prompt, so its samples must not be rewarded, nor punished.
// Symmetric: swapping the two changes no `equal`. Deterministic, byte safe, bounded time, never throws. Thread-safe.
#ifndef GRPO_REWARD_MATH_EQUAL_H_
#define GRPO_REWARD_MATH_EQUAL_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "proto/types.pb.h"

namespace grpo::math {

struct EqualOptions {
  // Significant digits from which a decimal may stand for a value that it only approximates.
  int64_t min_digits = 6;
  // Whether "1,2" may be 1.2; else it is a list only. Three digits behind a comma are thousands either way.
  bool decimal_comma = false;
  // An answer with more bytes is over the budget.
  int64_t max_answer_chars = 20000;
  // Of one comparison, in processor time. Its work is bounded by counting it; this is a second net.
  absl::Duration deadline = absl::Milliseconds(100);
  // Fills the forms in the Comparison.
  bool explain = false;
};

struct Comparison {
  // Absent when undecided.
  std::optional<bool> equal = std::nullopt;
  // SCORED when decided, otherwise why not.
  v1::Outcome outcome = v1::OUTCOME_SCORED;
  // The rule that decided, or what was missing: "exact rational arithmetic". Never null.
  const char* rule = "";
  // With `explain`: what each side was read as, cut when it is long; empty for what was not read.
  std::string gold_form = {}, pred_form = {};
};

// `gold` is the reference, `pred` the answer to judge; both are answers, not completions.
Comparison Equal(absl::string_view gold, absl::string_view pred, const EqualOptions& options = {});

// The same for an answer in several parts, the boxes of one list (reward/extract.h).
Comparison Equal(absl::string_view gold, const std::vector<std::string>& pred, const EqualOptions& options = {});

// Reads the table of units, which the first comparison with a unit does otherwise: some milliseconds, once a process.
void ReadUnits();

// OK when Equal can read this reference; InvalidArgument says what it can read.
absl::Status CheckReadable(absl::string_view gold, const EqualOptions& options = {});

}  // namespace grpo::math

#endif  // GRPO_REWARD_MATH_EQUAL_H_
