// The parser behind parse.h; its methods are in four files, by what they read: parse.cc (answers, relations, sets),
// parse_term.cc (sums, products, names), parse_function.cc (numbers, functions) and parse_unit.cc (units, words).
#ifndef GRPO_REWARD_MATH_PARSER_H_
#define GRPO_REWARD_MATH_PARSER_H_

#include <optional>
#include <string>
#include <vector>

#include "reward/math/parse.h"

namespace grpo::math {

// What a method reads; absent: not of the grammar, or over the budget. Then the cursor is anywhere.
using Parsed = std::optional<NodeId>;

class Parser {
 public:
  Parser(std::vector<Token> tokens, const ParseBudget& budget, Tree* tree)
      : tokens_(std::move(tokens)), budget_(budget), tree_(*tree), first_node_(tree->size()) {}

  Reading Run(NodeId* root);

 private:
  // One level of recursion; false when that is one too many.
  class Level {
   public:
    explicit Level(Parser* parser) : parser_(parser) { ++parser->depth_; }
    ~Level() { --parser_->depth_; }
    bool ok() const {
      const bool fits = parser_->depth_ <= parser_->budget_.max_depth &&
                        parser_->tree_.size() - parser_->first_node_ <= parser_->budget_.max_nodes;
      if (!fits) parser_->over_budget_ = true;
      return fits;
    }

   private:
    Parser* parser_;
  };

  // The cursor.
  const Token& Peek(size_t ahead = 0) const;
  bool AtEnd() const { return at_ >= tokens_.size(); }
  bool AtSymbol(char c) const { return Peek().IsSymbol(c); }
  bool AtCommand(absl::string_view name) const { return Peek().IsCommand(name); }
  bool ConsumeSymbol(char c);
  bool ConsumeCommand(absl::string_view name);

  // parse.cc
  Parsed ParseAnswer();
  Parsed ParseGroups(const std::vector<NodeId>& items, const std::string& separators);
  // "," ";" "o"r, "a"nd; 0 when the cursor is at none. Takes a run of them, the last word or else the first counts.
  char ConsumeSeparators();
  char SeparatorAt() const;
  Parsed ParseClause();
  Parsed ParseOperand();
  // 0 when the cursor is at no relation.
  char ConsumeRelation();
  Parsed ParseRatio();
  Parsed ParseSets();
  // The cursor is at an opening bracket of any kind.
  bool AtBracket() const;
  bool IsFrenchOpen() const;
  bool IsFrenchClose() const;
  Parsed ParseBracket();
  Parsed ParseBracketContent(char open);
  Parsed ParseSetBuilder(NodeId element);
  Parsed ParseMatrix();
  char ConsumeClose();

  // parse_term.cc
  Parsed ParseSum();
  Parsed ParseSignedTerms();
  char ConsumeSign();
  Parsed ParseTerm();
  Parsed ParseSignedFactor();
  Parsed ParseFactor();
  Parsed ParsePostfix(NodeId base);
  Parsed ParseExponent();
  Parsed ParseBase();
  Parsed ParseLetters();
  Parsed ParseName(std::string name);
  Parsed ParseCall(NodeId name);
  Parsed ParseAbs();
  Parsed ParseCommand();
  // The text of a subscript: letters and digits in order.
  std::optional<std::string> ParseSubscript();
  // A group in braces, or one token; one digit of a number where `one_digit`.
  Parsed ParseArgument(bool one_digit);
  bool StartsFactor() const;
  bool AtFunction() const;
  bool IsInteger(NodeId id) const;

  // parse_function.cc
  Parsed ParseNumber();
  Parsed ParseLiteral(const std::string& literal);
  Parsed ParseMixed(NodeId whole);
  Parsed ParseRepeating(const std::string& literal);
  Parsed ParseBaseLiteral(const std::string& digits);
  Parsed ParseFixedFunction(const std::string& name, size_t num_arguments);
  Parsed ParseRoot(const std::string& name);
  Parsed ParseFunction(const std::string& name);
  Parsed ParseFunctionArgument();
  Parsed ParseBigOperator(const std::string& name);
  // The limits of a finite sum: its variable and the two values.
  struct Limits {
    std::string variable;
    NodeId first, last;
  };
  std::optional<Limits> ParseLimits(size_t end);
  bool HoldsInfinity(NodeId id) const;
  void ShareModulus(std::vector<NodeId>* items);
  Parsed ParseEnclosed(absl::string_view close, absl::string_view function);

  // parse_unit.cc
  // Words from the cursor to a separator, relation or the end: text. Absent, the cursor unmoved, when they are none.
  Parsed ParseWords();
  Parsed TextOf(std::vector<std::string> words);
  // A unit behind a magnitude, absent with the cursor unmoved when there is none.
  Parsed ParseUnit(NodeId magnitude);
  bool AtUnit(NodeId magnitude) const;
  bool AtPerCent() const;
  // "usd", "euro", ...; empty when the cursor is at no sign of money.
  std::string ConsumeCurrency();
  std::optional<std::string> ParseUnitProduct();
  std::optional<std::string> ParseUnitFactor();

  std::vector<Token> tokens_;
  size_t at_ = 0;
  const ParseBudget& budget_;
  Tree& tree_;
  const size_t first_node_;
  int depth_ = 0;
  bool over_budget_ = false;
  // Inside |...|, where | closes.
  bool in_abs_ = false;
  // In the head of a set, where | and : end it.
  bool in_set_head_ = false;
  // Variables of the sums around, which are never e or i.
  std::vector<std::string> bound_names_;
  // Round and square brackets that are open.
  int round_depth_ = 0;
};

}  // namespace grpo::math

#endif  // GRPO_REWARD_MATH_PARSER_H_
