#include "reward/math/parse.h"

#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"

namespace grpo::math {
namespace {

using absl::ascii_isdigit;
using absl::string_view;

// Digits as written, without separators.
struct Literal {
  std::string digits;
  int64_t num_fraction_digits = 0;
  // "0.5" is a decimal, "5" is an integer.
  bool is_decimal = false;

  bool is_integer() const { return !is_decimal; }
  Rational value() const { return Rational::FromDigits(digits, -num_fraction_digits); }
};

// Reads one answer from left to right. A method that returns false or nullopt leaves the cursor anywhere, except where
// it says so.
class Parser {
 public:
  Parser(string_view text, const ParseBudget& budget) : rest_(text), budget_(budget) {}

  Reading Parse(std::vector<Number>* numbers) {
    do {
      if (numbers->size() >= static_cast<size_t>(budget_.max_items)) return Reading::kOverBudget;
      std::optional<Number> number = ParseItem();
      if (over_budget_) return Reading::kOverBudget;
      if (!number.has_value()) return Reading::kUnread;
      numbers->push_back(*std::move(number));
    } while (ConsumeSeparators());
    return rest_.empty() ? Reading::kRead : Reading::kUnread;
  }

 private:
  void SkipBlanks() {
    while (absl::ConsumePrefix(&rest_, " ") || absl::ConsumePrefix(&rest_, "\\,")) {
    }
  }

  // Skips blanks, then `token`; when it is not there, only the blanks are gone.
  bool Consume(string_view token) {
    SkipBlanks();
    return absl::ConsumePrefix(&rest_, token);
  }

  bool ConsumeSeparators() {
    bool any = false;
    while (Consume(",") || Consume(";") || ConsumeWord("or") || ConsumeWord("and")) any = true;
    return any;
  }

  bool ConsumeWord(string_view word) {
    SkipBlanks();
    if (!absl::StartsWithIgnoreCase(rest_, word)) return false;
    if (rest_.size() > word.size() && absl::ascii_isalpha(rest_[word.size()])) return false;
    rest_.remove_prefix(word.size());
    return true;
  }

  std::optional<Number> ParseItem() {
    const std::string name = ConsumeName();
    std::optional<Number> number = ParseNumber();
    if (number.has_value()) number->name = name;
    return number;
  }

  // "x =", "x_1 =", "\alpha =", "area ="; empty, and the cursor where it was, when there is none.
  std::string ConsumeName() {
    SkipBlanks();
    size_t length = absl::StartsWith(rest_, "\\") ? 1 : 0;
    const size_t letters_begin = length;
    while (length < rest_.size() && absl::ascii_isalpha(rest_[length])) ++length;
    if (length == letters_begin) return "";
    if (length < rest_.size() && rest_[length] == '_') {
      ++length;
      while (length < rest_.size() &&
             (absl::ascii_isalnum(rest_[length]) || rest_[length] == '{' || rest_[length] == '}')) {
        ++length;
      }
    }
    const string_view name = rest_.substr(0, length);
    const string_view before = rest_;
    rest_.remove_prefix(length);
    if (Consume("=")) return std::string(name.data(), name.size());
    rest_ = before;
    return "";
  }

  std::optional<Number> ParseNumber() {
    Number number;
    std::optional<bool> negative = ConsumeSign();
    ConsumeUnit({"$", "\u20ac", "\u00a3", "\u00a5"}, &number.unit);
    if (!negative.has_value()) negative = ConsumeSign();
    SkipBlanks();
    if (!ParseMagnitude(&number)) return std::nullopt;
    if (negative.value_or(false)) number.value = -number.value;
    if (number.unit.empty()) {
      ConsumeUnit({"%", "\u00b0", "$", "\u20ac", "\u00a3", "\u00a5"}, &number.unit);
    }
    return number;
  }

  // Absent: no sign. True: minus.
  std::optional<bool> ConsumeSign() {
    if (Consume("-")) return true;
    if (Consume("+")) return false;
    return std::nullopt;
  }

  void ConsumeUnit(std::initializer_list<string_view> units, std::string* unit) {
    for (const string_view candidate : units) {
      if (Consume(candidate)) {
        unit->assign(candidate.data(), candidate.size());
        return;
      }
    }
  }

  bool ParseMagnitude(Number* number) {
    if (absl::StartsWith(rest_, "\\frac")) {
      std::optional<Rational> fraction = ParseLatexFraction();
      if (fraction.has_value()) number->value = *std::move(fraction);
      return fraction.has_value();
    }
    const std::optional<Literal> literal = ParseLiteral();
    if (!literal.has_value()) return false;
    if (absl::ConsumePrefix(&rest_, "e") || absl::ConsumePrefix(&rest_, "E")) {
      return ParseExponent() && Scale(*literal, /*is_decimal=*/true, number);
    }
    if (Consume("/")) {
      SkipBlanks();
      const std::optional<Literal> denominator = ParseLiteral();
      return denominator.has_value() && Divide(literal->value(), denominator->value(), &number->value);
    }
    if (absl::StartsWith(rest_, "\\frac") || (!rest_.empty() && ascii_isdigit(rest_[0]))) {
      return literal->is_integer() && ParseMixed(literal->value(), number);
    }
    if (Consume("\\times") || Consume("\\cdot") || Consume("*")) {
      return ParsePowerOfTen() && Scale(*literal, /*is_decimal=*/true, number);
    }
    return Scale(*literal, literal->is_decimal, number);
  }

  // The fraction of a mixed number: "2 1/3" and "2\frac13" are sums.
  bool ParseMixed(const Rational& whole, Number* number) {
    Rational fraction;
    if (absl::StartsWith(rest_, "\\frac")) {
      std::optional<Rational> latex = ParseLatexFraction();
      if (!latex.has_value() || latex->Sign() < 0) return false;
      fraction = *std::move(latex);
    } else {
      const std::optional<Literal> numerator = ParseLiteral();
      if (!numerator.has_value() || !numerator->is_integer() || !Consume("/")) return false;
      SkipBlanks();
      const std::optional<Literal> denominator = ParseLiteral();
      if (!denominator.has_value() || !denominator->is_integer()) return false;
      if (!Divide(numerator->value(), denominator->value(), &fraction)) return false;
    }
    number->value = whole + fraction;
    return true;
  }

  // \frac with braces or with one digit as an argument; arguments are signed literals.
  std::optional<Rational> ParseLatexFraction() {
    rest_.remove_prefix(string_view("\\frac").size());
    const std::optional<Rational> numerator = ParseFractionArgument();
    if (!numerator.has_value()) return std::nullopt;
    const std::optional<Rational> denominator = ParseFractionArgument();
    Rational quotient;
    if (!denominator.has_value() || !Divide(*numerator, *denominator, &quotient)) return std::nullopt;
    return quotient;
  }

  std::optional<Rational> ParseFractionArgument() {
    if (Consume("{")) {
      const bool negative = ConsumeSign().value_or(false);
      SkipBlanks();
      const std::optional<Literal> literal = ParseLiteral();
      if (!literal.has_value() || !Consume("}")) return std::nullopt;
      return negative ? -literal->value() : literal->value();
    }
    if (rest_.empty() || !ascii_isdigit(rest_[0])) return std::nullopt;
    const std::string digit(1, rest_[0]);
    rest_.remove_prefix(1);
    return Rational::FromDigits(digit, 0);
  }

  static bool Divide(const Rational& numerator, const Rational& denominator, Rational* quotient) {
    if (denominator.Sign() == 0) return false;
    *quotient = numerator / denominator;
    return true;
  }

  // "12", "1,234", "1\,234", "0.5", ".5".
  std::optional<Literal> ParseLiteral() {
    Literal literal;
    literal.digits = ConsumeDigits();
    const size_t num_leading = literal.digits.size();
    if (num_leading >= 1 && num_leading <= 3 && literal.digits[0] != '0') {
      while (const size_t separator = ThousandsSeparator()) {
        rest_.remove_prefix(separator);
        literal.digits += ConsumeDigits();
      }
    }
    if (rest_.size() >= 2 && rest_[0] == '.' && ascii_isdigit(rest_[1])) {
      rest_.remove_prefix(1);
      const std::string fraction = ConsumeDigits();
      literal.num_fraction_digits = fraction.size();
      literal.is_decimal = true;
      literal.digits += fraction;
    }
    if (literal.digits.empty()) return std::nullopt;
    return literal;
  }

  std::string ConsumeDigits() {
    size_t length = 0;
    while (length < rest_.size() && ascii_isdigit(rest_[length])) ++length;
    const std::string digits(rest_.data(), length);
    rest_.remove_prefix(length);
    return digits;
  }

  // Length of a separator at the cursor that exactly three digits follow; 0 when there is none. "1,234" is a number,
  // "1, 234" a list.
  size_t ThousandsSeparator() const {
    const size_t length = absl::StartsWith(rest_, ",") ? 1 : absl::StartsWith(rest_, "\\,") ? 2 : 0;
    if (length == 0 || rest_.size() < length + 3) return 0;
    for (size_t i = length; i < length + 3; ++i) {
      if (!ascii_isdigit(rest_[i])) return 0;
    }
    return rest_.size() > length + 3 && ascii_isdigit(rest_[length + 3]) ? 0 : length;
  }

  // "10^5", "10^{-5}".
  bool ParsePowerOfTen() {
    if (!Consume("10") || !Consume("^")) return false;
    const bool braces = Consume("{");
    return ParseExponent() && (!braces || Consume("}"));
  }

  bool ParseExponent() {
    const bool negative = ConsumeSign().value_or(false);
    const std::string digits = ConsumeDigits();
    if (digits.empty()) return false;
    if (!absl::SimpleAtoi(digits, &exponent_) || exponent_ > budget_.max_exponent) {
      over_budget_ = true;
      return false;
    }
    if (negative) exponent_ = -exponent_;
    return true;
  }

  // The literal times ten to the exponent that was read, if any.
  bool Scale(const Literal& literal, bool is_decimal, Number* number) {
    const int64_t last_digit_exponent = std::exchange(exponent_, 0) - literal.num_fraction_digits;
    number->value = Rational::FromDigits(literal.digits, last_digit_exponent);
    if (is_decimal) {
      number->last_digit = Rational::FromDigits("1", last_digit_exponent);
      const size_t first = literal.digits.find_first_not_of('0');
      number->num_significant_digits = first == std::string::npos ? 0 : literal.digits.size() - first;
    }
    return true;
  }

  string_view rest_;
  const ParseBudget& budget_;
  // Of the number that is being read.
  int64_t exponent_ = 0;
  bool over_budget_ = false;
};

// Takes away the delimiters when they surround all of `text`.
bool Unwrap(string_view open, string_view close, string_view* text) {
  if (text->size() < open.size() + close.size() || !absl::StartsWith(*text, open) || !absl::EndsWith(*text, close)) {
    return false;
  }
  *text = absl::StripAsciiWhitespace(text->substr(open.size(), text->size() - open.size() - close.size()));
  return true;
}

}  // namespace

Reading ParseNumbers(string_view canonical_spelling, const ParseBudget& budget, std::vector<Number>* numbers) {
  string_view text = canonical_spelling;
  const size_t num_before = numbers->size();
  // An inner brace that is left over (as in "{1}, {2}") makes the parser refuse.
  if (!Unwrap("\\{", "\\}", &text)) Unwrap("{", "}", &text);
  const bool parentheses = Unwrap("(", ")", &text);
  const Reading reading = Parser(text, budget).Parse(numbers);
  if (reading == Reading::kRead && parentheses && numbers->size() != num_before + 1) return Reading::kUnread;
  return reading;
}

}  // namespace grpo::math
