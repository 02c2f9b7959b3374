// Equality of two answers in one tree, by what they are: text, numbers with units, lists and sets, tuples and
// intervals, regions of the real line, matrices, ratios, relations. Scalars decides the expressions in them.
#ifndef GRPO_REWARD_MATH_JUDGE_H_
#define GRPO_REWARD_MATH_JUDGE_H_

#include <optional>
#include <string>
#include <vector>

#include "reward/math/scalar.h"
#include "reward/math/tree.h"
#include "reward/math/unit.h"
#include "reward/math/verdict.h"

namespace grpo::math {

class Judge {
 public:
  // `decimal_comma`: whether "1,2" is 1.2, too.
  Judge(Tree* tree, int64_t min_digits, bool decimal_comma, Work* work)
      : tree_(*tree), work_(*work), scalars_(tree, min_digits, work), decimal_comma_(decimal_comma) {}

  // Symmetric.
  Decision Compare(NodeId a, NodeId b);

 private:
  // A magnitude with its unit; `unit` is empty for none and "%" for percent.
  struct Quantity {
    NodeId magnitude;
    std::string unit;
  };
  // A relation that only says what something is: x = 5.
  struct Assignment {
    NodeId name, value;
  };
  // left = right up to multiples of the modulus.
  struct Congruence {
    NodeId left, right, modulus;
  };

  // judge.cc
  Decision CompareUnlike(NodeId a, NodeId b);
  std::optional<Decision> CompareDecimalCommas(NodeId a, NodeId b);
  std::optional<Decision> CompareWords(NodeId a, NodeId b) const;
  Decision CompareText(NodeId a, NodeId b) const;
  // The letters of a name or of a product of names, lower-case; empty when it is something else.
  std::string Letters(NodeId id) const;
  Decision CompareScalars(NodeId a, NodeId b);
  std::optional<Quantity> QuantityOf(NodeId id);
  Decision CompareQuantities(const Quantity& a, const Quantity& b);
  Decision CompareWithBare(const Quantity& quantity, NodeId bare);
  Decision CompareUnits(const Quantity& a, const Quantity& b);
  Decision CompareRatios(NodeId a, NodeId b);
  // A node with its +- and its matrix arithmetic carried out.
  NodeId Expand(NodeId id);

  // judge_sets.cc
  std::vector<NodeId> Items(NodeId id);
  Decision CompareSets(NodeId a, NodeId b);
  Decision CompareInOrder(const std::vector<NodeId>& a, const std::vector<NodeId>& b, const char* rule);
  Decision CompareTuples(NodeId a, NodeId b);
  Decision CompareTupleWith(NodeId tuple, NodeId other);
  Decision CompareMatrices(NodeId a, NodeId b);
  std::optional<NodeId> AsMatrix(NodeId id);
  std::optional<std::vector<std::string>> NamesInOrder(const std::vector<NodeId>& items);
  // Both signs of every +- in it; one, itself, when it holds none.
  std::vector<NodeId> BothSigns(NodeId id);
  NodeId WithSign(NodeId id, bool plus);
  std::optional<NodeId> MatrixValue(NodeId id);

  // judge_relations.cc
  bool IsNameLike(NodeId id) const;
  std::optional<Assignment> AssignmentOf(NodeId id);
  // The place of the member of a chain of equalities that is its value; absent when its members disagree.
  std::optional<size_t> ValueIn(const Node& chain, const std::vector<NodeId>& members, size_t first);
  Decision CompareRelations(NodeId a, NodeId b);
  Decision CompareRelationsOf(NodeId a, NodeId b);
  bool IsResidue(NodeId id) const;
  std::optional<Congruence> CongruenceOf(NodeId id) const;
  Decision CompareCongruences(const Congruence& a, const Congruence& b);
  Decision CompareResidues(NodeId a, NodeId b, NodeId modulus_a, NodeId modulus_b);
  std::optional<Decision> CompareChains(NodeId a, NodeId b);
  Decision CompareRelationWith(NodeId relation, NodeId value);
  Decision CompareEquations(NodeId a, NodeId b);
  Decision CompareInequalities(NodeId a, NodeId b);

  Tree& tree_;
  Work& work_;
  Scalars scalars_;
  const bool decimal_comma_;
  int depth_ = 0;
  // Inside a relation that binds a name, letters side by side are products, not words.
  bool in_relation_ = false;
};

}  // namespace grpo::math

#endif  // GRPO_REWARD_MATH_JUDGE_H_
