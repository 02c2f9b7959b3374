// The tokens of an answer: one sequence for what LaTeX, Unicode and plain text write in several ways, so that the
// parser knows one of each. Byte safe, linear in the text, no recursion. Thread-safe.
#ifndef GRPO_REWARD_MATH_TOKEN_H_
#define GRPO_REWARD_MATH_TOKEN_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace grpo::math {

enum class TokenKind : uint8_t {
  // Digits with at most one point, without separators: "1234.5". With an exponent: "3.2e5". A comma inside brackets
  // separates items: "1,234" is one number, "(1,234)" a pair.
  kNumber,
  // Letters as written: "x", "xy", "cm", "Monday".
  kWord,
  // A LaTeX command by its name, or what Unicode and plain text have for it: "frac", "pi", "sin", "infty", "leq".
  kCommand,
  // One character that is an operator or a delimiter: + - * / ^ _ ( ) [ ] | , ; : ! ' = < > % $ and the braces of a
  // group. The braces of a set are the commands "{" and "}"; a row's end is the command "\\".
  kSymbol,
  // "\begin{pmatrix}", "\end{pmatrix}"; the text is the environment's name.
  kBegin,
  kEnd,
  // A byte that no notation uses.
  kOther,
};

struct Token {
  TokenKind kind;
  std::string text;
  // A blank stands before it.
  bool spaced = false;
  // Inside \text{} and the like.
  bool is_text = false;

  bool Is(TokenKind other_kind, absl::string_view other_text) const { return kind == other_kind && text == other_text; }
  bool IsSymbol(char c) const { return kind == TokenKind::kSymbol && text[0] == c; }
  bool IsCommand(absl::string_view name) const { return Is(TokenKind::kCommand, name); }
};

// The tokens of `text` without what surrounds an answer (math/text.h). Blanks, \left, \right and sizes vanish; \dfrac,
// \tfrac and the like become frac; Greek letters, relations, roots, superscripts and fractions of Unicode become what
// LaTeX has for them; amounts of money keep their sign, the dollars around formulas vanish.
std::vector<Token> Tokenize(absl::string_view text);

// The tokens as text, for people: one spelling of all that tokenize alike.
std::string Spell(const std::vector<Token>& tokens);

}  // namespace grpo::math

#endif  // GRPO_REWARD_MATH_TOKEN_H_
