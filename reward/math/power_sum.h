// Closed expressions as sums of powers: rational coefficients times products of primes, pi, e and i to rational
// exponents. What is equal has one form, whatever the degree of its roots and the size of its powers: 4^500000 is
// 2^1000000, and is never written out.
#ifndef GRPO_REWARD_MATH_POWER_SUM_H_
#define GRPO_REWARD_MATH_POWER_SUM_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "reward/math/tree.h"
#include "reward/math/verdict.h"

namespace grpo::math {

// The exponent of each base of a product, none of them zero. A base is "pi", "e", "i", a prime in decimal digits, "?"
// and an integer whose factors are not known, or "(" and a sum that is proven to be positive.
using Powers = std::map<std::string, Rational>;

// A term of a sum: `powers` as an expression, which is 1 for none, and its coefficient.
struct PowerTerm {
  Rational coefficient;
  NodeId powers;
};

// The terms of a closed expression, each product once; `tree` grows by what they name. Absent for what is no such sum,
// or too large. One thread.
std::optional<std::vector<PowerTerm>> PowerTermsOf(Tree* tree, NodeId id, Work* work);

// Whether two closed expressions are equal. kDifferent is a proof, too: primes have no other relations.
Verdict ComparePowerSums(const Tree& tree, NodeId a, NodeId b, Work* work);

}  // namespace grpo::math

#endif  // GRPO_REWARD_MATH_POWER_SUM_H_
