// Words: text answers, units, amounts.
#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "reward/math/number_words.h"
#include "reward/math/parser.h"
#include "reward/math/unit.h"

namespace grpo::math {
namespace {

using absl::string_view;

// Words that take back or widen what stands before them, so that no number counts that they follow.
constexpr string_view kNoUnit[] = {
    "is",     "are",        "was",      "were",     "not",           "or",        "and",       "but",       "maybe",
    "if",     "then",       "than",     "isn",      "wrong",         "either",    "both",      "neither",   "none",
    "no",     "except",     "unless",   "to",       "plus",          "minus",     "half",      "more",      "less",
    "about",  "with",       "without",  "because",  "since",         "incorrect", "correct",   "right",     "false",
    "true",   "perhaps",    "possibly", "probably", "instead",       "rather",    "otherwise", "else",      "where",
    "when",   "for",        "so",       "thus",     "therefore",     "hence",     "which",     "that",      "while",
    "though", "however",    "mod",      "modulo",   "base",          "squared",   "cubed",     "factorial", "choose",
    "root",   "percentile", "also",     "only",     "approximately", "roughly",   "does",      "did",       "can",
    "could",  "may",        "might",    "should",   "would",         "as",        "too",       "versus",    "vs",
    "below",  "above",      "under",    "over",     "negative",
};

constexpr string_view kShortNouns[] = {"men", "man", "boy", "pen", "hen", "cow", "dog", "cat",
                                       "day", "box", "pie", "egg", "car", "bag", "way", "set",
                                       "pig", "bus", "cup", "jar", "pts", "ppl", "pcs"};

// Words for powers of ten and the dozen.
struct Scale {
  string_view word;
  int64_t value;
};
constexpr Scale kScales[] = {{"hundred", 100},        {"thousand", 1000},          {"million", 1000000},
                             {"billion", 1000000000}, {"trillion", 1000000000000}, {"dozen", 12}};

template <size_t N>
bool IsIn(const string_view (&list)[N], string_view word) {
  return std::find(std::begin(list), std::end(list), word) != std::end(list);
}

bool IsPercentWord(string_view word) {
  return word == "percent" || word == "pct" || word == "percentage" || word == "percents";
}

// Of "twenty-five percent", "five per cent".
std::optional<int64_t> PercentOf(std::vector<std::string> words) {
  if (words.size() > 2 && words.back() == "cent" && words[words.size() - 2] == "per") {
    words.pop_back();
  } else if (words.size() < 2 || !IsPercentWord(words.back())) {
    return std::nullopt;
  }
  words.pop_back();
  return NumberOfWords(words);
}

int64_t ScaleOf(string_view word) {
  for (const Scale& scale : kScales) {
    if (scale.word == word) return scale.value;
  }
  return 0;
}

bool HoldsSymbol(const Tree& tree, NodeId id) {
  const Node& node = tree[id];
  if (node.op == Op::kSymbol) return true;
  return std::any_of(node.kids.begin(), node.kids.end(), [&](NodeId kid) { return HoldsSymbol(tree, kid); });
}

// "Bob", but not "AB" or "xyz".
bool IsName(string_view word) {
  return absl::ascii_isupper(word[0]) && word.size() > 1 &&
         std::all_of(word.begin() + 1, word.end(), absl::ascii_islower);
}

std::string Singular(std::string word) {
  if (word.size() > 3 && absl::EndsWith(word, "s") && !absl::EndsWith(word, "ss")) word.pop_back();
  return word;
}

}  // namespace

Parsed Parser::ParseWords() {
  // "Option A", "choice (B)".
  const bool is_choice = Peek().kind == TokenKind::kWord && (absl::EqualsIgnoreCase(Peek().text, "option") ||
                                                             absl::EqualsIgnoreCase(Peek().text, "choice"));
  if (is_choice && (Peek(1).text.size() == 1)) ++at_;
  constexpr string_view kKnown[] = {"yes", "no",  "odd", "even", "true", "none",
                                    "all", "one", "two", "six",  "ten",  "dne"};
  std::vector<std::string> words;
  bool is_text = false;
  size_t end = at_;
  for (; end < tokens_.size(); ++end) {
    const Token& token = tokens_[end];
    const bool joins = token.IsSymbol('-') || token.IsSymbol('\'');
    if (joins && !words.empty() && end + 1 < tokens_.size() && tokens_[end + 1].kind == TokenKind::kWord &&
        !token.spaced && !tokens_[end + 1].spaced) {
      words.back() += token.text;
      ++end;
      words.back() += absl::AsciiStrToLower(tokens_[end].text);
      is_text = is_text || words.back().size() > 4;
      continue;
    }
    if (token.kind != TokenKind::kWord) break;
    const std::string word = absl::AsciiStrToLower(token.text);
    if (word == "or" || word == "and") break;
    is_text |= (token.is_text && word.size() > 1) || word.size() > 3 || IsIn(kKnown, word) || IsName(token.text);
    if (!(words.empty() && (word == "the" || word == "an"))) words.push_back(word);
  }
  if (words.empty() || (!is_text && words.size() < 3)) return std::nullopt;
  if (end < tokens_.size()) {
    const Token& next = tokens_[end];
    const bool ends = next.kind == TokenKind::kSymbol
                          ? absl::StrContains(",;=<>&)]}:", next.text)
                          : next.kind != TokenKind::kNumber && next.kind != TokenKind::kBegin;
    if (!ends) return std::nullopt;
  }
  at_ = end;
  return TextOf(std::move(words));
}

Parsed Parser::TextOf(std::vector<std::string> words) {
  if (const std::optional<int64_t> percent = PercentOf(words); percent.has_value())
    return tree_.Add(Op::kPercent, {tree_.Number(*percent)});
  if (words.size() > 1 && words[0] == "a") words.erase(words.begin());
  return tree_.Add(Node{.op = Op::kText, .text = absl::StrJoin(words, " ")});
}

std::string Parser::ConsumeCurrency() {
  std::string currency;
  if (AtSymbol('$')) currency = "usd";
  if (AtCommand("euro")) currency = "euro";
  if (AtCommand("pounds")) currency = "gbp";
  if (AtCommand("yen")) currency = "yen";
  if (AtCommand("rupee")) currency = "rupee";
  if (AtCommand("cents")) currency = "cent";
  if (!currency.empty()) ++at_;
  return currency;
}

bool Parser::AtUnit(NodeId magnitude) const {
  const Op op = tree_[magnitude].op;
  if (op == Op::kTuple || op == Op::kSet || op == Op::kMatrix || op == Op::kNumberSet || op == Op::kQuantity) {
    const bool goes_on = op == Op::kQuantity && (AtSymbol('/') || absl::EqualsIgnoreCase(Peek().text, "per"));
    if (!goes_on || Peek().kind == TokenKind::kCommand) return false;
    return AtSymbol('/') ? Peek(1).kind == TokenKind::kWord && !UnitName(Peek(1).text).empty() : true;
  }
  if (AtSymbol('$')) return true;
  if (Peek().kind == TokenKind::kCommand) {
    return AtCommand("euro") || AtCommand("pounds") || AtCommand("yen") || AtCommand("rupee") || AtCommand("cents");
  }
  if (Peek().kind != TokenKind::kWord) return false;
  const std::string word = absl::AsciiStrToLower(Peek().text);
  if (IsIn(kNoUnit, word) || HoldsSymbol(tree_, magnitude)) return false;
  if (AtPerCent()) return true;
  const bool is_known = !UnitName(Peek().text).empty() || IsPercentWord(word) || ScaleOf(word) != 0;
  if (Peek().is_text) return word.size() > 1 || is_known;
  if (is_known) return word.size() > 1;
  return Peek().spaced && (word.size() > 3 || IsIn(kShortNouns, word) || word == "sq" || word == "cu");
}

bool Parser::AtPerCent() const {
  return absl::EqualsIgnoreCase(Peek().text, "per") && absl::EqualsIgnoreCase(Peek(1).text, "cent");
}

Parsed Parser::ParseUnit(NodeId magnitude) {
  if (const std::string currency = ConsumeCurrency(); !currency.empty()) {
    return tree_.Add(Node{.op = Op::kQuantity, .text = currency, .kids = {magnitude}});
  }
  for (; Peek().kind == TokenKind::kWord && ScaleOf(absl::AsciiStrToLower(Peek().text)) != 0; ++at_) {
    const int64_t scale = ScaleOf(absl::AsciiStrToLower(Peek().text));
    magnitude = tree_.Add(Op::kMul, {magnitude, tree_.Number(scale)});
  }
  if (!AtUnit(magnitude)) return magnitude;
  if (Peek().kind == TokenKind::kWord && (AtPerCent() || IsPercentWord(absl::AsciiStrToLower(Peek().text)))) {
    at_ += AtPerCent() ? 2 : 1;
    return tree_.Add(Op::kPercent, {magnitude});
  }
  Node quantity{.op = Op::kQuantity, .kids = {magnitude}};
  if (tree_[magnitude].op == Op::kQuantity) {
    // "$5 per hour".
    quantity = tree_[magnitude];
  }
  const std::optional<std::string> unit = ParseUnitProduct();
  if (!unit.has_value()) return std::nullopt;
  if (!quantity.text.empty() && !unit->empty()) quantity.text += "*";
  quantity.text += *unit;
  return quantity.text.empty() ? Parsed(magnitude) : tree_.Add(std::move(quantity));
}

// A unit, its products and quotients: "m/s", "miles per hour", "square inches", "ft^2", "different ways".
std::optional<std::string> Parser::ParseUnitProduct() {
  std::vector<std::string> factors;
  int num_words = 0;
  while (num_words < 6) {
    const bool divides = AtSymbol('/') || absl::EqualsIgnoreCase(Peek().text, "per");
    const bool multiplies = (AtSymbol('*') || AtCommand("times")) && Peek(1).kind == TokenKind::kWord;
    if (divides || multiplies) {
      const bool has_unit = Peek(1).kind == TokenKind::kWord;
      if (!has_unit) break;
      ++at_;
    } else if (Peek().kind != TokenKind::kWord) {
      break;
    }
    const std::string word = absl::AsciiStrToLower(Peek().text);
    if (word == "and" || word == "or" || word == "to") break;
    if (IsIn(kNoUnit, word)) return std::nullopt;
    std::optional<std::string> factor = ParseUnitFactor();
    if (!factor.has_value()) return std::nullopt;
    ++num_words;
    if (factor->empty()) continue;
    if (divides) {
      const size_t caret = factor->find('^');
      if (caret == std::string::npos) {
        *factor += "^-1";
      } else {
        factor->insert(caret + 1, "-");
      }
    }
    factors.push_back(*std::move(factor));
  }
  if (num_words == 0 || num_words == 6) return std::nullopt;
  return absl::StrJoin(factors, "*");
}

// "cm", "cm^2", "square inches"; empty for "square units" and the words that say nothing ("of", "each").
std::optional<std::string> Parser::ParseUnitFactor() {
  int exponent = 1;
  std::string word = Peek().text;
  const std::string lower = absl::AsciiStrToLower(word);
  if (lower == "square" || lower == "sq" || lower == "cubic" || lower == "cu") {
    exponent = lower[0] == 's' ? 2 : 3;
    ++at_;
    if (Peek().Is(TokenKind::kSymbol, ".")) ++at_;
    if (Peek().kind != TokenKind::kWord) return std::nullopt;
    word = Peek().text;
  }
  ++at_;
  if (ConsumeSymbol('^')) {
    const Parsed written = ParseExponent();
    if (!written.has_value()) return std::nullopt;
    const Node& node = tree_[*written];
    const bool negative = node.op == Op::kNeg;
    const Node& number = negative ? tree_[node.kids[0]] : node;
    const std::optional<int64_t> value = number.op == Op::kNumber ? number.value.ToInt64() : std::nullopt;
    if (!value.has_value() || *value < 1 || *value > 9) return std::nullopt;
    exponent *= static_cast<int>(negative ? -*value : *value);
  }
  std::string name = UnitName(word);
  if (name.empty()) name = Singular(absl::AsciiStrToLower(word));
  if (name == "unit" || name == "of" || name == "each" || name == "different" || name == "distinct" ||
      name == "total") {
    return "";
  }
  return exponent == 1 ? name : absl::StrCat(name, "^", exponent);
}

}  // namespace grpo::math
