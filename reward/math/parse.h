// From the tokens of an answer to its tree. Nothing is evaluated; what is not of this grammar is not read, never
// guessed.
//
//   answer   := clause (separator clause)*                   separator := , ; and or
//   clause   := words | ratio (relation ratio)*              relation := = < > <= >= != ~ in ...
//   ratio    := sets (: sets)*
//   sets     := sum ((cup | cap | setminus) sum)*
//   sum      := [sign] term (sign term)*                     sign := + - +- -+
//   term     := factor ([* | /] factor)* [unit]              side by side is a product
//   factor   := base [! | % | degree | _ base | ^ exponent]*
//   base     := number | mixed number | name | constant | \frac \sqrt \binom | function argument | |sum| | brackets |
//   matrix brackets := ( [ { \{ \langle answer \rangle \} } ] )
// Recursion ends at a fixed depth.
#ifndef GRPO_REWARD_MATH_PARSE_H_
#define GRPO_REWARD_MATH_PARSE_H_

#include <vector>

#include "reward/math/token.h"
#include "reward/math/tree.h"

namespace grpo::math {

enum class Reading {
  kRead,
  // Not of this grammar.
  kUnread,
  // Larger than the budget.
  kOverBudget,
};

struct ParseBudget {
  size_t max_tokens = 2500;
  // Nodes that one part of an answer adds to the tree.
  size_t max_nodes = 16384;
  int max_depth = 48;
  // Of scientific notation.
  int64_t max_exponent = 10000;
  // Values of one list, set or tuple; rows times columns of a matrix.
  size_t max_items = 128;
};

// Reads all of `tokens` into `tree`; *root is set when kRead comes back.
Reading Parse(std::vector<Token> tokens, const ParseBudget& budget, Tree* tree, NodeId* root);

}  // namespace grpo::math

#endif  // GRPO_REWARD_MATH_PARSE_H_
