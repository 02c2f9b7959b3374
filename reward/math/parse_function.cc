// Numbers and functions.
#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "reward/math/parser.h"

namespace grpo::math {
namespace {

bool IsDigits(absl::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return absl::ascii_isdigit(c); });
}

bool IsTrigonometric(absl::string_view name) {
  return name == "sin" || name == "cos" || name == "tan" || name == "cot" || name == "sinh" || name == "cosh" ||
         name == "tanh" || name == "sec" || name == "csc";
}

}  // namespace

Parsed Parser::ParseNumber() {
  const Token& token = Peek();
  // Digits of a base above ten: "1A_{16}".
  std::string digits;
  size_t end = at_;
  for (; end < tokens_.size(); ++end) {
    const Token& part = tokens_[end];
    const bool is_digits = (part.kind == TokenKind::kNumber && IsDigits(part.text)) || part.kind == TokenKind::kWord;
    if (!is_digits || (end > at_ && part.spaced)) break;
    digits += part.text;
  }
  if (end > at_ + 1 && end < tokens_.size() && tokens_[end].IsSymbol('_')) {
    at_ = end;
    return ParseBaseLiteral(digits);
  }
  ++at_;
  const bool repeats = AtCommand("overline") || AtCommand("bar");
  if (repeats || absl::EndsWith(token.text, ".")) return ParseRepeating(token.text);
  const Parsed literal = ParseLiteral(token.text);
  if (!literal.has_value()) return std::nullopt;
  // "0.1(6)": a product or a repeating decimal.
  const bool is_ambiguous = tree_[*literal].is_decimal && AtSymbol('(') && !Peek().spaced;
  if (is_ambiguous) return std::nullopt;
  return IsInteger(*literal) ? ParseMixed(*literal) : literal;
}

Parsed Parser::ParseLiteral(const std::string& literal) {
  const size_t exponent_at = literal.find('e');
  int64_t exponent = 0;
  if (exponent_at != std::string::npos) {
    if (!absl::SimpleAtoi(literal.substr(exponent_at + 1), &exponent) || std::abs(exponent) > budget_.max_exponent) {
      over_budget_ = true;
      return std::nullopt;
    }
  }
  std::string digits = literal.substr(0, exponent_at);
  const size_t point = digits.find('.');
  Node node{.op = Op::kNumber};
  node.is_decimal = point != std::string::npos || exponent_at != std::string::npos;
  if (point != std::string::npos) {
    exponent -= static_cast<int64_t>(digits.size() - point - 1);
    digits.erase(point, 1);
  }
  node.value = Rational::FromDigits(digits, exponent);
  node.last_digit_exponent = exponent;
  const size_t first = digits.find_first_not_of('0');
  node.num_significant_digits = first == std::string::npos ? 0 : digits.size() - first;
  return tree_.Add(std::move(node));
}

// "2 1/3", "2\frac{1}{3}": their sum. The cursor is behind the 2.
Parsed Parser::ParseMixed(NodeId whole) {
  const bool plain = Peek().kind == TokenKind::kNumber && Peek().spaced && IsDigits(Peek().text) &&
                     Peek(1).IsSymbol('/') && Peek(2).kind == TokenKind::kNumber && IsDigits(Peek(2).text);
  if (plain) {
    const Parsed numerator = ParseLiteral(Peek().text), denominator = ParseLiteral(Peek(2).text);
    at_ += 3;
    // "2 1/3/4" is nothing.
    if (!numerator.has_value() || !denominator.has_value() || AtSymbol('/')) return std::nullopt;
    return tree_.Add(Op::kAdd, {whole, tree_.Add(Op::kDiv, {*numerator, *denominator})});
  }
  if (!AtCommand("frac")) return whole;
  const size_t before = at_;
  const std::vector<Token> saved(tokens_.begin() + at_, tokens_.begin() + std::min(at_ + 4, tokens_.size()));
  ++at_;
  const Parsed fraction = ParseFixedFunction("frac", 2);
  if (fraction.has_value()) {
    const std::vector<NodeId> kids = tree_[*fraction].kids;
    if (IsInteger(kids[0]) && IsInteger(kids[1])) return tree_.Add(Op::kAdd, {whole, *fraction});
  }
  // A product: read again, with the digits that \frac12 has taken.
  at_ = before;
  std::copy(saved.begin(), saved.end(), tokens_.begin() + at_);
  return whole;
}

// 0.1\overline{6}, and a point that ends in nothing readable.
Parsed Parser::ParseRepeating(const std::string& literal) {
  if (!AtCommand("overline") && !AtCommand("bar")) return std::nullopt;
  const size_t point = literal.find('.');
  if (point == std::string::npos || absl::StrContains(literal, "e")) return std::nullopt;
  ++at_;
  const std::optional<std::string> period = ParseSubscript();
  if (!period.has_value() || !IsDigits(*period)) return std::nullopt;
  std::string digits = literal;
  digits.erase(point, 1);
  const int64_t num_fixed = literal.size() - point - 1, num_repeated = period->size();
  const Rational all = Rational::FromDigits(digits + *period, 0), fixed = Rational::FromDigits(digits, 0);
  const Rational nines = Rational::FromDigits("1", num_repeated) - Rational(1);
  return tree_.Number((all - fixed) / (nines * Rational::FromDigits("1", num_fixed)));
}

// 204_5, 204_{5}, 204_{\text{five}}; the cursor is at the underscore.
Parsed Parser::ParseBaseLiteral(const std::string& digits) {
  constexpr absl::string_view kNames[] = {"two",   "three", "four", "five",   "six",   "seven",
                                          "eight", "nine",  "ten",  "eleven", "twelve"};
  ++at_;
  const std::optional<std::string> subscript = ParseSubscript();
  if (!subscript.has_value() || digits.empty()) return std::nullopt;
  int base = 0;
  if (!absl::SimpleAtoi(*subscript, &base)) {
    const auto name = std::find(std::begin(kNames), std::end(kNames), absl::AsciiStrToLower(*subscript));
    if (name != std::end(kNames)) base = static_cast<int>(name - std::begin(kNames)) + 2;
  }
  if (base < 2 || base > 36) return std::nullopt;
  const std::optional<Rational> value = Rational::FromBase(digits, base);
  if (!value.has_value()) return std::nullopt;
  return tree_.Number(*value);
}

Parsed Parser::ParseFixedFunction(const std::string& name, size_t num_arguments) {
  std::vector<NodeId> arguments;
  if (AtSymbol('(')) {
    const Parsed tuple = ParseBracket();
    if (!tuple.has_value() || tree_[*tuple].op != Op::kTuple) return std::nullopt;
    arguments = tree_[*tuple].kids;
  } else {
    for (size_t i = 0; i < num_arguments; ++i) {
      const Parsed argument = ParseArgument(/*one_digit=*/true);
      if (!argument.has_value()) return std::nullopt;
      arguments.push_back(*argument);
    }
  }
  if (arguments.size() != num_arguments) return std::nullopt;
  return name == "frac" ? tree_.Add(Op::kDiv, std::move(arguments)) : tree_.Function(name, std::move(arguments));
}

Parsed Parser::ParseRoot(const std::string& name) {
  NodeId index = tree_.Number(name == "cbrt" ? 3 : 2);
  if (AtSymbol('[') && name == "sqrt") {
    ++at_;
    const Parsed written = ParseSum();
    if (!written.has_value() || !ConsumeSymbol(']')) return std::nullopt;
    index = *written;
  }
  const Parsed radicand = ParseArgument(/*one_digit=*/false);
  if (!radicand.has_value()) return std::nullopt;
  return tree_.Add(Op::kRoot, {*radicand, index});
}

Parsed Parser::ParseFunction(const std::string& name) {
  std::optional<NodeId> power, base;
  while (AtSymbol('^') || (AtSymbol('_') && name == "log")) {
    const bool is_power = ConsumeSymbol('^');
    if (!is_power) ++at_;
    const Parsed script = is_power ? ParseExponent() : ParseArgument(/*one_digit=*/false);
    if (!script.has_value() || (is_power ? power : base).has_value()) return std::nullopt;
    (is_power ? power : base) = *script;
  }
  std::vector<NodeId> arguments;
  const Parsed argument = ParseFunctionArgument();
  if (!argument.has_value()) return std::nullopt;
  const bool has_several = tree_[*argument].op == Op::kTuple;
  arguments = has_several ? tree_[*argument].kids : std::vector<NodeId>{*argument};
  if (base.has_value()) arguments.push_back(*base);
  std::string function = name;
  if (name == "ln") {
    function = "log";
    arguments.push_back(tree_.Add(Op::kE, {}));
  } else if (name == "lg") {
    function = "log";
    arguments.push_back(tree_.Number(10));
  }
  // sin^{-1} is the inverse.
  const bool is_minus_one = power.has_value() && (tree_[*power].op == Op::kNeg) && tree_.ToString(*power) == "-1";
  if (is_minus_one && IsTrigonometric(name)) return tree_.Function("a" + function, std::move(arguments));
  NodeId result = tree_.Function(function, std::move(arguments));
  if (name == "exp") result = tree_.Add(Op::kPow, {tree_.Add(Op::kE, {}), *argument});
  return power.has_value() ? tree_.Add(Op::kPow, {result, *power}) : result;
}

// In brackets, or the product up to the next function, sign or bracket: \sin 2x \cos y is (sin 2x)(cos y).
Parsed Parser::ParseFunctionArgument() {
  const Level level(this);
  if (!level.ok()) return std::nullopt;
  if (AtSymbol('(') || AtSymbol('{') || AtSymbol('[')) return ParseBracket();
  const bool negative = ConsumeSymbol('-');
  Parsed product = ParseFactor();
  if (!product.has_value()) return std::nullopt;
  bool has_pi = tree_[*product].op == Op::kPi;
  while (StartsFactor() && !AtSymbol('(') && !AtSymbol('[') && !AtSymbol('{') && !AtFunction()) {
    const Parsed factor = ParseFactor();
    if (!factor.has_value()) return std::nullopt;
    has_pi |= tree_[*factor].op == Op::kPi;
    product = tree_.Add(Op::kMul, {*product, *factor});
  }
  // \sin\pi/6 means the sine of pi/6.
  if (has_pi && AtSymbol('/')) {
    ++at_;
    const Parsed divisor = ParseFactor();
    if (!divisor.has_value()) return std::nullopt;
    product = tree_.Add(Op::kDiv, {*product, *divisor});
  }
  return negative ? tree_.Add(Op::kNeg, {*product}) : product;
}

// "x = 1, 5 (mod 6)": the modulus of the last is that of all, and the name of the first.
void Parser::ShareModulus(std::vector<NodeId>* items) {
  const auto is_residue = [&](NodeId id) { return tree_[id].op == Op::kFunction && tree_[id].text == "mod"; };
  if (items->size() < 2 || !is_residue(items->back())) return;
  const NodeId modulus = tree_[items->back()].kids[1];
  const Node first = tree_[items->front()];
  const bool is_named =
      first.op == Op::kRelation && first.text.size() == 1 && (first.text[0] == kEqual || first.text[0] == kCongruent);
  std::vector<NodeId> values = *items;
  if (is_named) values[0] = first.kids[1];
  for (NodeId& value : values) {
    const Op op = tree_[value].op;
    if (!is_residue(value) && op != Op::kNumber && op != Op::kNeg) return;
    if (!is_residue(value)) value = tree_.Function("mod", {value, modulus});
    if (is_named) value = tree_.Add(Node{.op = Op::kRelation, .text = first.text, .kids = {first.kids[0], value}});
  }
  *items = std::move(values);
}

// \sum_{k=1}^{n} k: a function of the term, the variable and the two limits. Other limits are kept as text, so that
// what has them is equal only by form.
Parsed Parser::ParseBigOperator(const std::string& name) {
  std::string text = name;
  const size_t begin = at_;
  while (AtSymbol('_') || AtSymbol('^')) {
    text += Peek().text;
    ++at_;
    const std::optional<std::string> limit = ParseSubscript();
    if (!limit.has_value()) return std::nullopt;
    text += *limit;
  }
  const size_t end = at_;
  std::optional<Limits> limits;
  if (name == "sum" || name == "prod") {
    // Reading takes tokens apart, the rest must see them whole.
    const std::vector<Token> saved(tokens_.begin() + begin, tokens_.begin() + end);
    at_ = begin;
    limits = ParseLimits(end);
    std::copy(saved.begin(), saved.end(), tokens_.begin() + begin);
    at_ = end;
  }
  if (limits.has_value()) bound_names_.push_back(limits->variable);
  const Parsed term = ParseTerm();
  if (limits.has_value()) bound_names_.pop_back();
  if (!term.has_value()) return std::nullopt;
  if (!limits.has_value()) return tree_.Function(text, {*term});
  const NodeId variable = tree_.Add(Node{.op = Op::kSymbol, .text = limits->variable});
  return tree_.Function(name, {*term, variable, limits->first, limits->last});
}

std::optional<Parser::Limits> Parser::ParseLimits(size_t end) {
  Limits limits{.variable = "", .first = -1, .last = -1};
  while (at_ < end) {
    Parsed value;
    if (ConsumeSymbol('_')) {
      const bool is_assignment =
          ConsumeSymbol('{') && Peek().kind == TokenKind::kWord && Peek().text.size() == 1 && Peek(1).IsSymbol('=');
      if (!is_assignment || limits.first >= 0) return std::nullopt;
      limits.variable = Peek().text;
      at_ += 2;
      value = ParseSum();
      if (!value.has_value() || !ConsumeSymbol('}')) return std::nullopt;
      limits.first = *value;
    } else {
      ++at_;
      value = ParseExponent();
      if (!value.has_value() || limits.last >= 0) return std::nullopt;
      limits.last = *value;
    }
    if (HoldsInfinity(*value)) return std::nullopt;
  }
  return at_ == end && limits.first >= 0 && limits.last >= 0 ? std::optional<Limits>(limits) : std::nullopt;
}

bool Parser::HoldsInfinity(NodeId id) const {
  const Node& node = tree_[id];
  return node.op == Op::kInfinity ||
         std::any_of(node.kids.begin(), node.kids.end(), [&](NodeId kid) { return HoldsInfinity(kid); });
}

Parsed Parser::ParseEnclosed(absl::string_view close, absl::string_view function) {
  const Parsed inside = ParseSum();
  if (!inside.has_value() || !ConsumeCommand(close)) return std::nullopt;
  return tree_.Function(function, {*inside});
}

}  // namespace grpo::math
