// Equations, assignments and inequalities.
#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "reward/math/judge.h"
#include "reward/math/region.h"

namespace grpo::math {
namespace {

constexpr char kEquals[] = {kEqual, 0};

bool IsOrder(char relation) {
  return relation == kLess || relation == kLessEqual || relation == kGreater || relation == kGreaterEqual;
}

}  // namespace

// What is named, not computed: x, AB, |AB|, f(x), NO/BO, (p, q), area. No numbers, no sums.
bool Judge::IsNameLike(NodeId id) const {
  const Node& node = tree_[id];
  switch (node.op) {
    case Op::kSymbol:
    case Op::kText:
      return true;
    case Op::kE:
    case Op::kI:
      // A letter of a product: PE = 5.
      return false;
    case Op::kFunction:
      // The value of a function at a point has a name: f(2) = 5.
      if (node.text.size() <= 2 && std::none_of(node.kids.begin(), node.kids.end(),
                                                [&](NodeId kid) { return tree_[kid].op == Op::kRelation; })) {
        return true;
      }
      break;
    case Op::kMul: {
      // One name at least; e and i are letters beside it.
      bool has_name = false;
      for (const NodeId kid : node.kids) {
        const Op op = tree_[kid].op;
        has_name |= IsNameLike(kid);
        if (op != Op::kE && op != Op::kI && !IsNameLike(kid)) return false;
      }
      return has_name;
    }
    case Op::kDiv:
    case Op::kTuple:
    case Op::kRatio:
      break;
    default:
      return false;
  }
  if (node.op == Op::kFunction && node.text != "abs" && node.text != "det") return false;
  return std::all_of(node.kids.begin(), node.kids.end(), [&](NodeId kid) { return IsNameLike(kid); });
}

// name = value, name = a = b where a and b are equal, value ~ its decimals, name in a set.
std::optional<Judge::Assignment> Judge::AssignmentOf(NodeId id) {
  const Node node = tree_[id];
  if (node.text == std::string(1, kElement)) {
    if (!IsNameLike(node.kids[0])) return std::nullopt;
    return Assignment{node.kids[0], node.kids[1]};
  }
  if (node.text.find_first_not_of({kEqual, kApproximately}) != std::string::npos) return std::nullopt;
  std::vector<NodeId> kids = node.kids;
  NodeId name = kids[0];
  if (kids.size() == 2 && !IsNameLike(kids[0]) && IsNameLike(kids[1]) && node.text == kEquals)
    std::swap(kids[0], kids[1]);
  size_t first = 0;
  while (first + 1 < kids.size() && IsNameLike(kids[first])) name = kids[first++];
  if (first == 0 && kids.size() == 2 && node.text == kEquals && !scalars_.Names(kids[0]).empty()) return std::nullopt;
  const NodeId value = kids[first];
  // What follows must say the same again.
  for (size_t i = first + 1; i < kids.size(); ++i) {
    const bool approximate = node.text[i - 1] == kApproximately;
    const bool agrees = approximate
                            ? scalars_.IsScalar(kids[i]) && scalars_.IsScalar(value) &&
                                  (scalars_.ShowsDigitsOf(kids[i], value) || scalars_.Compare(kids[i], value).IsEqual())
                            : Compare(kids[i], value).IsEqual();
    if (!agrees) return std::nullopt;
  }
  return Assignment{first == 0 ? value : name, value};
}

Decision Judge::CompareRelationWith(NodeId relation, NodeId value) {
  const std::optional<Assignment> assignment = AssignmentOf(relation);
  if (!assignment.has_value()) {
    const bool is_equation = tree_[relation].text == kEquals;
    return is_equation && scalars_.IsScalar(value) ? Decision::Different("an equation and an expression")
                                                   : Decision::Undecided("a relation and a value");
  }
  return Compare(assignment->value, value);
}

Decision Judge::CompareRelations(NodeId a, NodeId b) {
  const Node x = tree_[a], y = tree_[b];
  Regions regions(&tree_, &scalars_, &work_);
  if (regions.IsOnlyRegion(a) && regions.IsOnlyRegion(b)) {
    const Decision decision = regions.Compare(a, b);
    if (decision.verdict != Verdict::kUndecided) return decision;
  }
  if (x.text == y.text && x.kids.size() == y.kids.size()) {
    // Side by side, in a relation of any kind.
    bool same = true;
    for (size_t i = 0; i < x.kids.size() && same; ++i) same = Compare(x.kids[i], y.kids[i]).IsEqual();
    if (same) return Decision::Equal("both sides are equal");
  }
  if (x.text.size() == 1 && y.text.size() == 1 && IsOrder(x.text[0]) && IsOrder(y.text[0]))
    return CompareInequalities(a, b);
  const std::optional<Assignment> left = AssignmentOf(a), right = AssignmentOf(b);
  Decision decision = Decision::Undecided("relations");
  if (left.has_value() && right.has_value()) {
    const bool same_name =
        left->name == left->value || right->name == right->value || Compare(left->name, right->name).IsEqual();
    if (same_name) {
      decision = Compare(left->value, right->value);
      if (decision.IsEqual()) return decision;
    } else if (IsNameLike(left->name) && IsNameLike(right->name) && tree_[left->name].kids.empty() &&
               tree_[right->name].kids.empty()) {
      decision = Decision::Different("different names");
    }
  }
  if (x.text == kEquals && y.text == kEquals) {
    const Decision equations = CompareEquations(a, b);
    if (equations.IsEqual() || decision.verdict == Verdict::kUndecided) return equations;
  }
  return decision;
}

Decision Judge::CompareEquations(NodeId a, NodeId b) {
  NodeId differences[2];
  for (const int side : {0, 1}) {
    const std::vector<NodeId> kids = tree_[side == 0 ? a : b].kids;
    for (const NodeId kid : kids) {
      if (!scalars_.IsScalar(kid)) return Decision::Undecided("equations of something else than numbers");
    }
    differences[side] = tree_.Add(Op::kAdd, {kids[0], tree_.Add(Op::kNeg, {kids[1]})});
  }
  return scalars_.CompareEquations(differences[0], differences[1]);
}

// One is a positive multiple of the other, both strict or both not.
Decision Judge::CompareInequalities(NodeId a, NodeId b) {
  NodeId differences[2];
  bool strict[2];
  for (const int side : {0, 1}) {
    const Node node = tree_[side == 0 ? a : b];
    for (const NodeId kid : node.kids) {
      if (!scalars_.IsScalar(kid)) return Decision::Undecided("inequalities of something else than numbers");
    }
    const bool is_less = node.text[0] == kLess || node.text[0] == kLessEqual;
    strict[side] = node.text[0] == kLess || node.text[0] == kGreater;
    differences[side] =
        tree_.Add(Op::kAdd, {node.kids[is_less ? 1 : 0], tree_.Add(Op::kNeg, {node.kids[is_less ? 0 : 1]})});
  }
  if (scalars_.Names(differences[0]) != scalars_.Names(differences[1]))
    return Decision::Different("inequalities in different names");
  const Decision proportional = scalars_.CompareEquations(differences[0], differences[1]);
  if (!proportional.IsEqual()) return proportional;
  const std::optional<bool> same_side = scalars_.HaveSameSign(differences[0], differences[1]);
  if (!same_side.has_value()) return Decision::Undecided("inequalities without a sign");
  return *same_side && strict[0] == strict[1] ? Decision::Equal("one inequality is a multiple of the other")
                                              : Decision::Different("inequalities of another direction");
}

}  // namespace grpo::math
