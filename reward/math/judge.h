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
  Judge(Tree* tree, int64_t min_digits, Work* work) : tree_(*tree), work_(*work), scalars_(tree, min_digits, work) {}

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

  // judge.cc
  Decision CompareUnlike(NodeId a, NodeId b);
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
  Decision CompareRelations(NodeId a, NodeId b);
  Decision CompareRelationWith(NodeId relation, NodeId value);
  Decision CompareEquations(NodeId a, NodeId b);
  Decision CompareInequalities(NodeId a, NodeId b);

  Tree& tree_;
  Work& work_;
  Scalars scalars_;
  int depth_ = 0;
};

}  // namespace grpo::math

#endif  // GRPO_REWARD_MATH_JUDGE_H_
