// Sums, products, powers, and what stands at their leaves.
#include <algorithm>
#include <cstdlib>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "reward/math/parser.h"

namespace grpo::math {
namespace {

using absl::string_view;

// Commands that begin no factor: relations, signs, separators, closing brackets.
constexpr string_view kNoFactor[] = {
    "leq",     "geq",      "lt",     "gt",          "neq",       "in",     "notin",  "equiv",  "approx",
    "subset",  "subseteq", "cup",    "cap",         "setminus",  "land",   "lor",    "to",     "Rightarrow",
    "iff",     "pm",       "mp",     "times",       "div",       "circ",   "over",   "choose", "pmod",
    "bmod",    "mod",      "mid",    "rangle",      "rfloor",    "rceil",  "ldots",  "}",      "{",
    "\\",      "euro",     "pounds", "yen",         "rupee",     "cents",  "not",    "prime",  "therefore",
    "because", "qed",      "square", "blacksquare", "checkmark", "langle", "mathbb",
};

constexpr string_view kFunctions[] = {
    "sin",  "cos",   "tan",   "cot",   "sec", "csc", "asin", "acos",      "atan", "acot",  "sinh", "cosh",
    "tanh", "asinh", "acosh", "atanh", "exp", "ln",  "log",  "lg",        "abs",  "floor", "ceil", "gcd",
    "lcm",  "max",   "min",   "det",   "arg", "Re",  "Im",   "factorial", "deg",  "dim",   "ker",
};

// Short words that are no product of letters.
constexpr string_view kNoLetters[] = {"or", "and", "to",  "mod", "not", "is",  "if",
                                      "no", "are", "but", "so",  "nor", "was", "nan"};

constexpr string_view kAccents[] = {"overline",       "bar",        "vec",    "hat",       "tilde",   "widehat",
                                    "overrightarrow", "underbrace", "dot",    "widetilde", "overset", "stackrel",
                                    "mathcal",        "mathfrak",   "mathscr"};

constexpr string_view kBigOperators[] = {"sum", "prod", "int", "lim", "iint", "oint"};

template <size_t N>
bool IsIn(const string_view (&list)[N], string_view name) {
  return std::find(std::begin(list), std::end(list), name) != std::end(list);
}

bool IsDigits(string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return absl::ascii_isdigit(c); });
}

}  // namespace

Parsed Parser::ParseSum() {
  const Level level(this);
  if (!level.ok()) return std::nullopt;
  const Parsed sum = ParseSignedTerms();
  if (!sum.has_value()) return std::nullopt;
  for (const string_view infix : {"over", "choose"}) {
    if (!ConsumeCommand(infix)) continue;
    const Parsed below = ParseSignedTerms();
    if (!below.has_value()) return std::nullopt;
    return infix == "over" ? tree_.Add(Op::kDiv, {*sum, *below}) : tree_.Function("binom", {*sum, *below});
  }
  return sum;
}

// '+', '-', 'p' for +-, 'm' for -+; 0 when the cursor is at none.
char Parser::ConsumeSign() {
  const char sign = AtSymbol('+') ? '+' : AtSymbol('-') ? '-' : AtCommand("pm") ? 'p' : AtCommand("mp") ? 'm' : 0;
  if (sign != 0) ++at_;
  return sign;
}

Parsed Parser::ParseSignedTerms() {
  std::vector<NodeId> terms;
  while (true) {
    char sign = ConsumeSign();
    if (sign == 0 && !terms.empty()) {
      // "2 hours 30 minutes".
      const bool goes_on = tree_[terms.back()].op == Op::kQuantity && Peek().kind == TokenKind::kNumber;
      if (!goes_on) break;
    }
    // "14 + -1".
    if ((sign == '+' || sign == '-') && ConsumeSymbol('-')) sign = sign == '+' ? '-' : '+';
    const Parsed term = ParseTerm();
    if (!term.has_value()) return std::nullopt;
    if (sign == '-') {
      terms.push_back(tree_.Add(Op::kNeg, {*term}));
    } else if (sign == 'p' || sign == 'm') {
      Node both{.op = Op::kPlusMinus, .text = sign == 'p' ? "+-" : "-+"};
      if (!terms.empty()) both.kids.push_back(terms.size() == 1 ? terms[0] : tree_.Add(Op::kAdd, std::move(terms)));
      both.kids.push_back(*term);
      terms = {tree_.Add(std::move(both))};
    } else {
      terms.push_back(*term);
    }
    // A set is not added to: "R - {1}" is for ParseSets.
    const Op op = tree_[terms.back()].op;
    if (op == Op::kNumberSet || op == Op::kSet) break;
  }
  return terms.size() == 1 ? Parsed(terms[0]) : tree_.Add(Op::kAdd, std::move(terms));
}

Parsed Parser::ParseTerm() {
  const Level level(this);
  if (!level.ok()) return std::nullopt;
  if (const std::string currency = ConsumeCurrency(); !currency.empty()) {
    const bool negative = ConsumeSymbol('-');
    const Parsed amount = ParseTerm();
    if (!amount.has_value()) return std::nullopt;
    // "$5 million" has no unit of its own; "$5 per hour" has.
    Node quantity{.op = Op::kQuantity, .text = currency, .kids = {*amount}};
    if (tree_[*amount].op == Op::kQuantity) {
      quantity.kids = tree_[*amount].kids;
      if (tree_[*amount].text != currency) quantity.text = absl::StrCat(currency, "*", tree_[*amount].text);
    }
    const NodeId result = tree_.Add(std::move(quantity));
    return negative ? tree_.Add(Op::kNeg, {result}) : result;
  }
  const Parsed first = ParseFactor();
  if (!first.has_value()) return std::nullopt;
  NodeId result = *first;
  while (true) {
    const Op op = tree_[result].op;
    if (AtUnit(result)) {
      const Parsed quantity = ParseUnit(result);
      if (!quantity.has_value()) return std::nullopt;
      result = *quantity;
      continue;
    }
    const bool divides = AtSymbol('/') || AtCommand("div");
    const bool multiplies = AtSymbol('*') || AtCommand("times");
    if (divides || multiplies) {
      ++at_;
    } else if (op == Op::kTuple || op == Op::kSet || op == Op::kNumberSet || op == Op::kQuantity || !StartsFactor()) {
      return result;
    }
    const Parsed factor = divides || multiplies ? ParseSignedFactor() : ParseFactor();
    if (!factor.has_value()) return std::nullopt;
    result = tree_.Add(divides ? Op::kDiv : Op::kMul, {result, *factor});
  }
}

Parsed Parser::ParseSignedFactor() {
  const char sign = ConsumeSign();
  if (sign == 'p' || sign == 'm') return std::nullopt;
  const Parsed factor = ParseFactor();
  if (!factor.has_value() || sign != '-') return factor;
  return tree_.Add(Op::kNeg, {*factor});
}

bool Parser::StartsFactor() const {
  const Token& token = Peek();
  switch (token.kind) {
    case TokenKind::kNumber:
      // Two numbers side by side are no product.
      return at_ > 0 && tokens_[at_ - 1].kind != TokenKind::kNumber;
    case TokenKind::kWord:
      return !IsIn(kNoLetters, absl::AsciiStrToLower(token.text)) &&
             (token.text.size() == 1 || (!token.is_text && token.text.size() <= 3));
    case TokenKind::kCommand:
      return !IsIn(kNoFactor, token.text);
    case TokenKind::kBegin:
      return true;
    case TokenKind::kSymbol:
      if (token.IsSymbol('|')) return !in_abs_ && !in_set_head_;
      if (token.IsSymbol('(')) return !absl::EqualsIgnoreCase(Peek(1).text, "mod");
      return token.IsSymbol('{') || (token.IsSymbol('[') && !IsFrenchClose());
    default:
      return false;
  }
}

Parsed Parser::ParseFactor() {
  const Level level(this);
  if (!level.ok()) return std::nullopt;
  const Parsed base = ParseBase();
  return base.has_value() ? ParsePostfix(*base) : base;
}

Parsed Parser::ParsePostfix(NodeId base) {
  while (true) {
    if (ConsumeSymbol('!')) {
      base = tree_.Function(ConsumeSymbol('!') ? "factorial2" : "factorial", {base});
    } else if (ConsumeSymbol('%')) {
      base = tree_.Add(Op::kPercent, {base});
    } else if (AtCommand("circ")) {
      ++at_;
      const bool is_temperature = Peek().kind == TokenKind::kWord && (Peek().text == "C" || Peek().text == "F");
      base =
          tree_.Add(Node{.op = Op::kQuantity, .text = is_temperature ? "deg" + Peek().text : "degree", .kids = {base}});
      at_ += is_temperature;
    } else if (AtSymbol('_') && tree_[base].op == Op::kNumber) {
      const Parsed value = ParseBaseLiteral(tree_[base].is_decimal ? "" : tree_[base].value.ToString());
      if (!value.has_value()) return std::nullopt;
      base = *value;
    } else if (ConsumeSymbol('^')) {
      const Parsed exponent = ParseExponent();
      if (!exponent.has_value()) return std::nullopt;
      base = tree_.Add(Op::kPow, {base, *exponent});
    } else {
      return base;
    }
  }
}

Parsed Parser::ParseExponent() {
  const Level level(this);
  if (!level.ok()) return std::nullopt;
  const bool negative = ConsumeSymbol('-');
  if (!negative) ConsumeSymbol('+');
  Parsed exponent = AtSymbol('{') ? ParseArgument(/*one_digit=*/false) : ParseBase();
  if (!exponent.has_value()) return std::nullopt;
  while (ConsumeSymbol('!')) exponent = tree_.Function("factorial", {*exponent});
  if (ConsumeSymbol('^')) {
    const Parsed next = ParseExponent();
    if (!next.has_value()) return std::nullopt;
    exponent = tree_.Add(Op::kPow, {*exponent, *next});
  }
  return negative ? tree_.Add(Op::kNeg, {*exponent}) : exponent;
}

Parsed Parser::ParseBase() {
  switch (Peek().kind) {
    case TokenKind::kNumber:
      return ParseNumber();
    case TokenKind::kWord:
      return ParseLetters();
    case TokenKind::kBegin:
      return ParseMatrix();
    case TokenKind::kCommand:
      return AtBracket() ? ParseBracket() : ParseCommand();
    case TokenKind::kSymbol:
      if (AtSymbol('|')) return in_abs_ || in_set_head_ ? std::nullopt : ParseAbs();
      return AtBracket() ? ParseBracket() : std::nullopt;
    default:
      return std::nullopt;
  }
}

Parsed Parser::ParseAbs() {
  ++at_;
  const bool was_head = std::exchange(in_set_head_, false);
  in_abs_ = true;
  const Parsed inside = ParseSum();
  in_abs_ = false;
  in_set_head_ = was_head;
  if (!inside.has_value() || !ConsumeSymbol('|')) return std::nullopt;
  return tree_.Function(tree_[*inside].op == Op::kMatrix ? "det" : "abs", {*inside});
}

// Two letters side by side are two names, unless they are a function's or text.
Parsed Parser::ParseLetters() {
  Token& word = tokens_[at_];
  if (word.is_text && word.text.size() > 1) {
    ++at_;
    return ParseName(word.text);
  }
  if (word.text.size() > 3 || IsIn(kNoLetters, absl::AsciiStrToLower(word.text))) return std::nullopt;
  // Hexadecimal digits: "FF_{16}".
  const bool is_hexadecimal = word.text.size() > 1 && word.text.find_first_not_of("ABCDEF") == std::string::npos &&
                              Peek(1).IsSymbol('_') && (Peek(2).text == "16" || Peek(3).text == "16");
  if (is_hexadecimal) {
    const std::string digits = word.text;
    ++at_;
    return ParseBaseLiteral(digits);
  }
  std::string letter = word.text.substr(0, 1);
  if (word.text.size() > 1) {
    word.text.erase(0, 1);
    word.spaced = false;
  } else {
    ++at_;
  }
  const bool has_script = AtSymbol('_') || AtSymbol('\'');
  const bool is_constant =
      !has_script && std::find(bound_names_.begin(), bound_names_.end(), letter) == bound_names_.end();
  if (letter == "e" && is_constant) return tree_.Add(Op::kE, {});
  if (letter == "i" && is_constant) return tree_.Add(Op::kI, {});
  return ParseName(std::move(letter));
}

Parsed Parser::ParseName(std::string name) {
  while (AtSymbol('_') || AtSymbol('\'')) {
    if (ConsumeSymbol('\'')) {
      name += '\'';
      continue;
    }
    ++at_;
    const std::optional<std::string> subscript = ParseSubscript();
    if (!subscript.has_value()) return std::nullopt;
    absl::StrAppend(&name, "_", *subscript);
  }
  const NodeId symbol = tree_.Add(Node{.op = Op::kSymbol, .text = name});
  return AtSymbol('(') ? ParseCall(symbol) : symbol;
}

// f(x); anything but f, g and h before a parenthesis is a factor. C(5, 2) is a binomial.
Parsed Parser::ParseCall(NodeId name) {
  const std::string text = tree_[name].text;
  const bool is_binomial = text == "C" && Peek(1).kind == TokenKind::kNumber && Peek(2).IsSymbol(',') &&
                           Peek(3).kind == TokenKind::kNumber && Peek(4).IsSymbol(')');
  if (!is_binomial && !absl::StrContains("fghFGH", text.substr(0, 1))) return name;
  if (text.size() > 1 && absl::ascii_isalpha(text[1])) return name;
  const Parsed argument = ParseBracket();
  if (!argument.has_value()) return std::nullopt;
  std::vector<NodeId> arguments = {*argument};
  if (tree_[*argument].op == Op::kTuple) arguments = tree_[*argument].kids;
  return tree_.Function(is_binomial ? "binom" : text, std::move(arguments));
}

std::optional<std::string> Parser::ParseSubscript() {
  if (AtEnd()) return std::nullopt;
  if (!AtSymbol('{')) {
    const Token& token = tokens_[at_++];
    if (token.kind == TokenKind::kSymbol || token.kind == TokenKind::kOther) return std::nullopt;
    return token.text;
  }
  std::string text;
  int depth = 0;
  for (; !AtEnd(); ++at_) {
    if (AtSymbol('{')) ++depth;
    if (AtSymbol('}') && --depth == 0) {
      ++at_;
      return text;
    }
    if (!AtSymbol('{') && !AtSymbol('}')) text += Peek().text;
  }
  return std::nullopt;
}

Parsed Parser::ParseArgument(bool one_digit) {
  const Level level(this);
  if (!level.ok()) return std::nullopt;
  if (AtSymbol('{') || AtSymbol('(')) return ParseBracket();
  Token& token = tokens_[std::min(at_, tokens_.size() - 1)];
  if (AtEnd()) return std::nullopt;
  if (token.kind == TokenKind::kNumber && one_digit && IsDigits(token.text)) {
    const NodeId digit = tree_.Number(token.text[0] - '0');
    token.text.erase(0, 1);
    token.spaced = false;
    if (token.text.empty()) ++at_;
    return digit;
  }
  return ParseBase();
}

bool Parser::AtFunction() const {
  return Peek().kind == TokenKind::kCommand && IsIn(kFunctions, Peek().text);
}

bool Parser::IsInteger(NodeId id) const {
  const Node& node = tree_[id];
  return node.op == Op::kNumber && !node.is_decimal && node.value.IsInteger();
}

Parsed Parser::ParseCommand() {
  const std::string name = Peek().text;
  if (IsIn(kNoFactor, name)) return std::nullopt;
  ++at_;
  if (name == "pi") return tree_.Add(Op::kPi, {});
  if (name == "infty") return tree_.Add(Op::kInfinity, {});
  if (name == "emptyset") return tree_.Add(Op::kEmptySet, {});
  if (name == "reals" || name == "integers" || name == "naturals" || name == "rationals" || name == "complexes") {
    return tree_.Add(Node{.op = Op::kNumberSet, .text = name});
  }
  if (name == "frac" || name == "binom") return ParseFixedFunction(name, 2);
  if (name == "sqrt" || name == "cbrt") return ParseRoot(name);
  if (name == "lfloor") return ParseEnclosed("rfloor", "floor");
  if (name == "lceil") return ParseEnclosed("rceil", "ceil");
  if (IsIn(kFunctions, name)) return ParseFunction(name);
  if (IsIn(kBigOperators, name)) return ParseBigOperator(name);
  if ((name == "angle" || name == "triangle") && Peek().kind == TokenKind::kWord && Peek().text.size() > 1) {
    // Its letters are points, in order; an angle is the same from either side.
    std::string points = tokens_[at_++].text;
    if (name == "angle") points = std::min(points, std::string(points.rbegin(), points.rend()));
    return ParseName(absl::StrCat(name, " ", points));
  }
  if (IsIn(kAccents, name)) {
    const std::optional<std::string> text = ParseSubscript();
    return text.has_value() ? ParseName(absl::StrCat(name, " ", *text)) : std::nullopt;
  }
  return ParseName(name);
}

}  // namespace grpo::math
