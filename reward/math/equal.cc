#include "reward/math/equal.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "reward/math/parse.h"
#include "reward/math/text.h"

namespace grpo::math {
namespace {

// Characters of a reference that a message quotes.
constexpr size_t kQuotedChars = 200;

// Whether `decimal` is `exact` cut off or rounded behind its last digit.
bool Approximates(const Number& decimal, const Rational& exact, const EqualOptions& options) {
  if (decimal.num_significant_digits < options.min_digits || decimal.value.Sign() != exact.Sign()) return false;
  const Rational excess = exact.Abs() - decimal.value.Abs();
  const Rational half = decimal.last_digit / Rational::FromDigits("2", 0);
  return excess < decimal.last_digit && !(excess < -half);
}

bool ValuesEqual(const Number& a, const Number& b, const EqualOptions& options) {
  if (a.value == b.value) return true;
  const bool a_decimal = a.last_digit.Sign() != 0, b_decimal = b.last_digit.Sign() != 0;
  if (a_decimal == b_decimal) return false;
  return a_decimal ? Approximates(a, b.value, options) : Approximates(b, a.value, options);
}

// The number that a percentage stands for: 50% as 1/2.
Number Fraction(Number percentage) {
  const Rational hundredth = Rational::FromDigits("1", -2);
  percentage.value = percentage.value * hundredth;
  percentage.last_digit = percentage.last_digit * hundredth;
  return percentage;
}

bool NumbersEqual(const Number& a, const Number& b, const EqualOptions& options) {
  if (!a.name.empty() && !b.name.empty() && a.name != b.name) return false;
  if (!a.unit.empty() && !b.unit.empty() && a.unit != b.unit) return false;
  if (ValuesEqual(a, b, options)) return true;
  // One of them is a percentage and the other a bare number, which may be the fraction it stands for.
  if (a.unit == "%" && b.unit.empty()) return ValuesEqual(Fraction(a), b, options);
  if (b.unit == "%" && a.unit.empty()) return ValuesEqual(a, Fraction(b), options);
  return false;
}

// Every number of `a` has an equal one in `b`.
bool Covers(const std::vector<Number>& b, const std::vector<Number>& a, const EqualOptions& options) {
  return std::all_of(a.begin(), a.end(), [&](const Number& x) {
    return std::any_of(b.begin(), b.end(), [&](const Number& y) { return NumbersEqual(x, y, options); });
  });
}

// All numbers of an answer in one or several parts. Its length is checked before anything is done with it.
Reading ReadAnswer(const std::vector<std::string>& parts, const EqualOptions& options, std::vector<Number>* numbers) {
  size_t num_chars = 0;
  for (const std::string& part : parts) num_chars += part.size();
  if (num_chars > static_cast<size_t>(options.max_answer_chars)) return Reading::kOverBudget;
  for (const std::string& part : parts) {
    const Reading reading = ParseNumbers(CanonicalSpelling(part), ParseBudget(), numbers);
    if (reading != Reading::kRead) return reading;
  }
  return Reading::kRead;
}

bool SameText(absl::string_view a, absl::string_view b) {
  const std::string comparable = ComparableText(CanonicalSpelling(a));
  return !comparable.empty() && comparable == ComparableText(CanonicalSpelling(b));
}

}  // namespace

Comparison Equal(absl::string_view gold, absl::string_view pred, const EqualOptions& options) {
  return Equal(gold, std::vector<std::string>{std::string(pred.data(), pred.size())}, options);
}

Comparison Equal(absl::string_view gold, const std::vector<std::string>& pred, const EqualOptions& options) {
  std::vector<Number> gold_numbers, pred_numbers;
  const Reading gold_reading = ReadAnswer({std::string(gold.data(), gold.size())}, options, &gold_numbers);
  const Reading pred_reading = ReadAnswer(pred, options, &pred_numbers);
  if (gold_reading == Reading::kRead && pred_reading == Reading::kRead) {
    const bool equal = Covers(gold_numbers, pred_numbers, options) && Covers(pred_numbers, gold_numbers, options);
    return {equal, v1::OUTCOME_SCORED};
  }
  if (pred.size() == 1 && SameText(gold, pred[0])) return {true, v1::OUTCOME_SCORED};
  if (gold_reading != Reading::kRead) return {std::nullopt, v1::OUTCOME_REFERENCE_UNPARSABLE};
  return {std::nullopt, pred_reading == Reading::kUnread ? v1::OUTCOME_UNDECIDED : v1::OUTCOME_OVER_BUDGET};
}

absl::Status CheckReadable(absl::string_view gold, const EqualOptions& options) {
  std::vector<Number> numbers;
  if (ReadAnswer({std::string(gold.data(), gold.size())}, options, &numbers) == Reading::kRead) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the reference answer \"", gold.substr(0, kQuotedChars),
                                                 "\" cannot be read; math_answer reads integers, decimals, fractions, "
                                                 "mixed numbers, percentages and lists of them, up to ",
                                                 options.max_answer_chars, " characters"));
}

}  // namespace grpo::math
