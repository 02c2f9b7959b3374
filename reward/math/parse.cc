#include "reward/math/parse.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "reward/math/parser.h"

namespace grpo::math {
namespace {

bool IsWord(const Token& token, absl::string_view word) {
  return token.kind == TokenKind::kWord && absl::EqualsIgnoreCase(token.text, word);
}

// "(mod 7)", \pmod{7}, \bmod 7.
bool IsModulus(const Token& token) {
  return IsWord(token, "mod") || token.IsCommand("pmod") || token.IsCommand("bmod") || token.IsCommand("mod");
}

bool IsSeparator(const Token& token) {
  return token.IsSymbol(',') || token.IsSymbol(';');
}

bool IsDigits(const Token& token) {
  return token.kind == TokenKind::kNumber && token.text.find_first_not_of("0123456789") == std::string::npos;
}

bool IsSetLike(const Node& node) {
  return node.op == Op::kTuple || node.op == Op::kSet || node.op == Op::kNumberSet || node.op == Op::kUnion;
}

}  // namespace

Reading Parse(std::vector<Token> tokens, const ParseBudget& budget, Tree* tree, NodeId* root) {
  if (tokens.size() > budget.max_tokens) return Reading::kOverBudget;
  return Parser(std::move(tokens), budget, tree).Run(root);
}

Reading Parser::Run(NodeId* root) {
  // A comma or semicolon at either end belongs to the sentence.
  while (!tokens_.empty() && IsSeparator(tokens_.back())) tokens_.pop_back();
  while (!tokens_.empty() && IsSeparator(tokens_.front())) tokens_.erase(tokens_.begin());
  if (tokens_.empty()) return Reading::kUnread;
  // "A)" is the choice (A).
  if (tokens_.size() == 2 && tokens_[0].kind == TokenKind::kWord && tokens_[0].text.size() == 1 &&
      tokens_[1].IsSymbol(')')) {
    tokens_.pop_back();
  }
  // "= 5" goes on from something that is not here.
  if (tokens_.size() > 1) ConsumeSymbol('=');
  // "1000,99": a list, or a decimal by its counterpart.
  const size_t sign = tokens_[0].IsSymbol('-') ? 1 : 0;
  const bool may_be_decimal = tokens_.size() == sign + 3 && IsDigits(tokens_[sign]) &&
                              tokens_[sign + 1].IsSymbol(',') && IsDigits(tokens_[sign + 2]) &&
                              !tokens_[sign + 1].spaced && !tokens_[sign + 2].spaced;
  const std::string as_decimal = may_be_decimal ? tokens_[sign].text + "." + tokens_[sign + 2].text : "";
  const Parsed answer = ParseAnswer();
  if (over_budget_) return Reading::kOverBudget;
  if (!answer.has_value() || !AtEnd()) return Reading::kUnread;
  *root = *answer;
  if (may_be_decimal) {
    const Parsed decimal = ParseLiteral(as_decimal);
    if (!decimal.has_value()) return Reading::kUnread;
    const NodeId value = sign == 1 ? tree_.Add(Op::kNeg, {*decimal}) : *decimal;
    tree_.at(*root).as_decimal = value;
  }
  return Reading::kRead;
}

const Token& Parser::Peek(size_t ahead) const {
  static const Token& end = *new Token{TokenKind::kOther, ""};
  return at_ + ahead < tokens_.size() ? tokens_[at_ + ahead] : end;
}

bool Parser::ConsumeSymbol(char c) {
  if (!AtSymbol(c)) return false;
  ++at_;
  return true;
}

bool Parser::ConsumeCommand(absl::string_view name) {
  if (!AtCommand(name)) return false;
  ++at_;
  return true;
}

Parsed Parser::ParseAnswer() {
  const Level level(this);
  if (!level.ok()) return std::nullopt;
  std::vector<NodeId> items;
  std::string separators;
  while (true) {
    const Parsed item = ParseClause();
    if (!item.has_value()) return std::nullopt;
    items.push_back(*item);
    if (items.size() > budget_.max_items) {
      over_budget_ = true;
      return std::nullopt;
    }
    const char separator = ConsumeSeparators();
    if (separator == 0) break;
    separators += separator;
  }
  ShareModulus(&items);
  return items.size() == 1 ? Parsed(items[0]) : ParseGroups(items, separators);
}

// "1,2;3,4" is a list of two lists.
Parsed Parser::ParseGroups(const std::vector<NodeId>& items, const std::string& separators) {
  Node list{.op = Op::kList, .text = std::string(1, separators.back())};
  const bool has_groups = absl::StrContains(separators, ";") && absl::StrContains(separators, ",");
  if (!has_groups) {
    list.kids = items;
    if (separators.find_first_not_of(separators[0]) != std::string::npos && separators.back() != 'o') list.text = ",";
    return tree_.Add(std::move(list));
  }
  list.text = ";";
  Node group{.op = Op::kList, .text = ","};
  for (size_t i = 0; i < items.size(); ++i) {
    group.kids.push_back(items[i]);
    if (i + 1 < items.size() && separators[i] != ';') continue;
    list.kids.push_back(group.kids.size() == 1 ? group.kids[0] : tree_.Add(group));
    group.kids.clear();
  }
  return tree_.Add(std::move(list));
}

char Parser::SeparatorAt() const {
  if (AtSymbol(',')) return ',';
  if (AtSymbol(';')) return ';';
  if (IsWord(Peek(), "or") || AtCommand("lor")) return 'o';
  if (IsWord(Peek(), "and") || AtCommand("land") || AtSymbol('&')) return 'a';
  return 0;
}

char Parser::ConsumeSeparators() {
  char separator = 0;
  for (char next; (next = SeparatorAt()) != 0; ++at_) {
    if (separator == 0 || next == 'o' || next == 'a') separator = next;
  }
  return separator;
}

Parsed Parser::ParseClause() {
  Node relation{.op = Op::kRelation};
  Parsed operand = ParseOperand();
  if (!operand.has_value()) return std::nullopt;
  relation.kids.push_back(*operand);
  while (const char sign = ConsumeRelation()) {
    operand = ParseOperand();
    if (!operand.has_value() || relation.kids.size() > budget_.max_items) return std::nullopt;
    relation.text += sign;
    relation.kids.push_back(*operand);
  }
  if (relation.kids.size() == 1) return relation.kids[0];
  return tree_.Add(std::move(relation));
}

// Words, or else a ratio; letters alone are both.
Parsed Parser::ParseOperand() {
  if (Peek().kind != TokenKind::kWord) return ParseRatio();
  const Parsed words = ParseWords();
  if (words.has_value()) return words;
  // Before they are taken apart.
  std::vector<std::string> letters;
  const size_t begin = at_;
  for (size_t at = at_; at < tokens_.size() && tokens_[at].kind == TokenKind::kWord; ++at)
    letters.push_back(absl::AsciiStrToLower(tokens_[at].text));
  const Parsed operand = ParseRatio();
  if (!operand.has_value() || at_ - begin > letters.size()) return operand;
  letters.resize(at_ - begin);
  if (std::string text = absl::StrJoin(letters, ""); text.size() > 1) {
    const NodeId word = tree_.Add(Node{.op = Op::kText, .text = std::move(text)});
    tree_.at(*operand).as_word = word;
  }
  return operand;
}

char Parser::ConsumeRelation() {
  constexpr std::pair<absl::string_view, char> kCommands[] = {
      {"leq", kLessEqual},        {"geq", kGreaterEqual}, {"lt", kLess},          {"gt", kGreater},
      {"neq", kNotEqual},         {"in", kElement},       {"notin", kNotElement}, {"equiv", kCongruent},
      {"approx", kApproximately}, {"subset", kSubset},    {"subseteq", kSubset},
  };
  const Token& token = Peek();
  char sign = 0;
  if (token.kind == TokenKind::kSymbol && absl::StrContains("=<>", token.text)) sign = token.text[0];
  if (token.IsSymbol(':') && Peek(1).IsSymbol('=')) {
    ++at_;
    sign = kEqual;
  }
  if (token.kind == TokenKind::kCommand) {
    for (const auto& [name, relation] : kCommands) {
      if (token.text == name) sign = relation;
    }
  }
  if (sign != 0) ++at_;
  return sign;
}

Parsed Parser::ParseRatio() {
  // A time of day, not a ratio: "12:00", "3:05".
  const Token &hour = Peek(), &minute = Peek(2);
  if (hour.kind == TokenKind::kNumber && Peek(1).IsSymbol(':') && minute.kind == TokenKind::kNumber &&
      minute.text.size() == 2 && minute.text[0] == '0' && hour.text.size() <= 2) {
    at_ += 3;
    return tree_.Add(Node{.op = Op::kText, .text = hour.text + ":" + minute.text});
  }
  const Parsed first = ParseSets();
  if (!first.has_value()) return std::nullopt;
  Node ratio{.op = Op::kRatio, .kids = {*first}};
  while ((AtSymbol(':') && !Peek(1).IsSymbol('=') && !in_set_head_) || IsWord(Peek(), "to")) {
    ++at_;
    const Parsed next = ParseSets();
    if (!next.has_value()) return std::nullopt;
    ratio.kids.push_back(*next);
  }
  const NodeId result = ratio.kids.size() == 1 ? *first : tree_.Add(std::move(ratio));
  const bool in_parentheses = AtSymbol('(') && IsModulus(Peek(1));
  if (in_parentheses) ++at_;
  if (!IsModulus(Peek())) return result;
  ++at_;
  const Parsed modulus = ParseArgument(/*one_digit=*/false);
  if (!modulus.has_value() || (in_parentheses && !ConsumeSymbol(')'))) return std::nullopt;
  return tree_.Function("mod", {result, *modulus});
}

Parsed Parser::ParseSets() {
  const Parsed first = ParseSum();
  if (!first.has_value()) return std::nullopt;
  NodeId result = *first;
  while (true) {
    Op op;
    if (AtCommand("cup") || ((IsWord(Peek(), "U")) && IsSetLike(tree_[result]))) {
      op = Op::kUnion;
    } else if (AtCommand("cap")) {
      op = Op::kIntersection;
    } else if (AtCommand("setminus") || (AtCommand("\\") && tree_[result].op == Op::kNumberSet)) {
      op = Op::kSetMinus;
    } else if (AtSymbol('-') && IsSetLike(tree_[result])) {
      op = Op::kSetMinus;
    } else {
      return result;
    }
    ++at_;
    const Parsed next = ParseSum();
    if (!next.has_value()) return std::nullopt;
    result = tree_.Add(op, {result, *next});
  }
}

bool Parser::AtBracket() const {
  const Token& token = Peek();
  if (token.kind == TokenKind::kSymbol) return absl::StrContains("([{", token.text) || IsFrenchOpen();
  return token.IsCommand("{") || token.IsCommand("langle");
}

// "]1, 2[": at the head of an operand.
bool Parser::IsFrenchOpen() const {
  if (!AtSymbol(']')) return false;
  return at_ == 0 || tokens_[at_ - 1].IsCommand("in") || tokens_[at_ - 1].IsCommand("cup") ||
         tokens_[at_ - 1].IsSymbol('=');
}

// "[1, 2[": what follows cannot be a factor's content.
bool Parser::IsFrenchClose() const {
  if (!AtSymbol('[') || round_depth_ == 0) return false;
  const Token& next = Peek(1);
  return next.text.empty() || next.IsCommand("cup") || next.IsSymbol(',') || next.IsSymbol(')') || next.IsSymbol('}');
}

// The closing bracket as a character of ")]}>S", S for that of a set; 0 when the cursor is at none.
char Parser::ConsumeClose() {
  char close = 0;
  if (AtSymbol(')') || AtSymbol(']') || AtSymbol('}')) close = Peek().text[0];
  if (IsFrenchClose()) close = ')';
  if (AtCommand("}")) close = 'S';
  if (AtCommand("rangle")) close = '>';
  if (close != 0) ++at_;
  return close;
}

Parsed Parser::ParseBracket() {
  const Level level(this);
  if (!level.ok()) return std::nullopt;
  const Token& token = Peek();
  const char open = token.IsCommand("{")        ? 'S'
                    : token.IsCommand("langle") ? '<'
                    : token.text[0] == ']'      ? '('
                                                : token.text[0];
  ++at_;
  const bool is_round = open == '(' || open == '[';
  const bool was_abs = std::exchange(in_abs_, false);
  const bool was_head = std::exchange(in_set_head_, open == 'S');
  const int old_round_depth = std::exchange(round_depth_, is_round ? round_depth_ + 1 : 0);
  const Parsed content = ParseBracketContent(open);
  in_abs_ = was_abs;
  in_set_head_ = was_head;
  round_depth_ = old_round_depth;
  return content;
}

Parsed Parser::ParseBracketContent(char open) {
  if (open == 'S' && ConsumeCommand("}")) return tree_.Add(Op::kEmptySet, {});
  std::vector<NodeId> items;
  char close = 0;
  do {
    const Parsed item = ParseClause();
    if (!item.has_value()) return std::nullopt;
    if (in_set_head_ && (AtSymbol('|') || AtSymbol(':') || AtCommand("mid"))) return ParseSetBuilder(*item);
    in_set_head_ = false;
    items.push_back(*item);
    if (items.size() > budget_.max_items) over_budget_ = true;
    if (over_budget_) return std::nullopt;
    close = ConsumeClose();
  } while (close == 0 && ConsumeSeparators() != 0);
  if (open == '{') {
    if (close != '}') return std::nullopt;
    return items.size() == 1 ? items[0] : tree_.Add(Op::kSet, std::move(items));
  }
  if (open == 'S') return close == 'S' ? Parsed(tree_.Add(Op::kSet, std::move(items))) : std::nullopt;
  if (open == '<') {
    if (close != '>') return std::nullopt;
    return tree_.Add(Node{.op = Op::kTuple, .text = "()", .kids = std::move(items)});
  }
  if (close != ')' && close != ']') return std::nullopt;
  const bool matches = (open == '(') == (close == ')');
  if (items.size() == 1) return matches ? Parsed(items[0]) : std::nullopt;
  if (!matches && items.size() != 2) return std::nullopt;
  return tree_.Add(Node{.op = Op::kTuple, .text = std::string{open, close}, .kids = std::move(items)});
}

// {x | x > 5}, {x in R : x > 5, x < 7}: the conditions, all of which hold.
Parsed Parser::ParseSetBuilder(NodeId element) {
  ++at_;
  in_set_head_ = false;
  Node conditions{.op = Op::kList, .text = "a"};
  const Node& head = tree_[element];
  const bool says_where = head.op == Op::kRelation && head.text == std::string(1, kElement);
  if (head.op != Op::kSymbol && !says_where) return std::nullopt;
  if (says_where && !(tree_[head.kids[1]].op == Op::kNumberSet && tree_[head.kids[1]].text == "reals")) {
    conditions.kids.push_back(element);
  }
  do {
    const Parsed condition = ParseClause();
    if (!condition.has_value() || conditions.kids.size() > budget_.max_items) return std::nullopt;
    conditions.kids.push_back(*condition);
    if (SeparatorAt() == 'o') return std::nullopt;
  } while (ConsumeSeparators() != 0);
  if (!ConsumeCommand("}")) return std::nullopt;
  if (conditions.kids.size() == 1) return conditions.kids[0];
  return tree_.Add(std::move(conditions));
}

Parsed Parser::ParseMatrix() {
  const Level level(this);
  if (!level.ok()) return std::nullopt;
  const std::string environment = Peek().text;
  ++at_;
  const bool is_matrix = absl::EndsWith(environment, "matrix") || environment == "array";
  const bool is_system = absl::StartsWith(environment, "align") || environment == "cases" || environment == "gathered";
  if (!is_matrix && !is_system) return std::nullopt;
  if (is_system) {
    // "x &= 5 \\ y &= 6" is a list of equations.
    const auto end =
        std::find_if(tokens_.begin() + at_, tokens_.end(), [](const Token& t) { return t.kind == TokenKind::kEnd; });
    tokens_.erase(std::remove_if(tokens_.begin() + at_, end, [](const Token& t) { return t.IsSymbol('&'); }), end);
  }
  Node matrix{.op = is_matrix ? Op::kMatrix : Op::kList, .text = is_matrix ? "" : ","};
  size_t num_columns = 0, row_begin = 0;
  while (true) {
    const Parsed cell = is_matrix ? ParseOperand() : ParseClause();
    if (!cell.has_value()) return std::nullopt;
    matrix.kids.push_back(*cell);
    if (matrix.kids.size() > budget_.max_items) over_budget_ = true;
    if (over_budget_) return std::nullopt;
    if (is_matrix ? ConsumeSymbol('&') : ConsumeSymbol(',')) continue;
    const bool new_row = ConsumeCommand("\\");
    const bool ends = Peek().kind == TokenKind::kEnd;
    if (!new_row && !ends) return std::nullopt;
    const size_t num_cells = matrix.kids.size() - row_begin;
    if (is_matrix && num_columns != 0 && num_columns != num_cells) return std::nullopt;
    num_columns = num_cells;
    row_begin = matrix.kids.size();
    if (ends) break;
  }
  if (Peek().text != environment) return std::nullopt;
  ++at_;
  if (is_matrix) matrix.num_columns = num_columns;
  if (matrix.kids.size() == 1) return matrix.kids[0];
  const NodeId result = tree_.Add(std::move(matrix));
  return absl::StartsWith(environment, "v") ? tree_.Function("det", {result}) : result;
}

}  // namespace grpo::math
