// Equality of two expressions: exact rational arithmetic, then values as balls, which prove that they differ, then
// proofs that they are equal.
#ifndef GRPO_REWARD_MATH_SCALAR_H_
#define GRPO_REWARD_MATH_SCALAR_H_

#include <optional>
#include <set>
#include <string>

#include "reward/math/tree.h"
#include "reward/math/verdict.h"

namespace grpo::math {

class Scalars {
 public:
  // `min_digits`: significant digits from which a decimal may stand for a value that it only approximates.
  Scalars(Tree* tree, int64_t min_digits, Work* work) : tree_(*tree), min_digits_(min_digits), work_(*work) {}

  // Whether a node is an expression: no list, interval, relation, text.
  bool IsScalar(NodeId id) const;
  // The names in it.
  std::set<std::string> Names(NodeId id) const;

  Decision Compare(NodeId a, NodeId b);

  // a - b where it is a rational number, whatever the names in them stand for.
  std::optional<Rational> RationalDifference(NodeId a, NodeId b);

  // Whether the equations (a zero) and (b zero) say the same: one is a constant times the other.
  Decision CompareEquations(NodeId a, NodeId b);

  // Whether two expressions, one a multiple of the other, have the same sign; found at a point.
  std::optional<bool> HaveSameSign(NodeId a, NodeId b);

  // The sign of a closed real expression: -1, 0 or 1. Absent when it is not proven. Infinity has a sign.
  std::optional<int> Sign(NodeId id);

  // Whether a decimal, with fewer digits than Compare asks for, shows only right digits of a closed value.
  bool ShowsDigitsOf(NodeId decimal, NodeId exact);

 private:
  Decision CompareRational(NodeId a, NodeId b, bool* decided);
  Decision CompareValues(NodeId a, NodeId b, bool natural_log);
  Decision CompareClosed(NodeId a, NodeId b, bool natural_log);
  Decision CompareOpen(NodeId a, NodeId b, const std::set<std::string>& names, bool natural_log);
  std::optional<bool> Approximates(NodeId decimal, NodeId exact, int64_t min_digits);
  bool HoldsBareLog(NodeId id) const;
  bool HoldsOp(NodeId id, Op op) const;
  bool HasValues(NodeId id) const;

  Tree& tree_;
  const int64_t min_digits_;
  Work& work_;
};

}  // namespace grpo::math

#endif  // GRPO_REWARD_MATH_SCALAR_H_
