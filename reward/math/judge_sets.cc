// Lists, sets, tuples and matrices.
#include <algorithm>
#include <set>
#include <utility>

#include "reward/math/judge.h"

namespace grpo::math {

// The values of a list or set, one for anything else; x = 1 +- 2 is two values.
std::vector<NodeId> Judge::Items(NodeId id) {
  const Node node = tree_[id];
  if (node.op != Op::kSet && node.op != Op::kList) return {id};
  std::vector<NodeId> items;
  for (const NodeId kid : node.kids) {
    const std::optional<Assignment> assignment = tree_[kid].op == Op::kRelation ? AssignmentOf(kid) : std::nullopt;
    const NodeId written = assignment.has_value() ? assignment->value : kid;
    const NodeId value = Expand(written);
    if (value != written && tree_[value].op == Op::kSet) {
      const std::vector<NodeId> values = tree_[value].kids;
      items.insert(items.end(), values.begin(), values.end());
    } else {
      items.push_back(assignment.has_value() ? kid : value);
    }
  }
  return items;
}

// The names of all items, when each is an assignment to a name of its own.
std::optional<std::vector<std::string>> Judge::NamesInOrder(const std::vector<NodeId>& items) {
  std::vector<std::string> names;
  std::set<std::string> seen;
  for (const NodeId item : items) {
    const std::optional<Assignment> assignment = tree_[item].op == Op::kRelation ? AssignmentOf(item) : std::nullopt;
    if (!assignment.has_value()) return std::nullopt;
    names.push_back(tree_.ToString(assignment->name));
    if (!seen.insert(names.back()).second) return std::nullopt;
  }
  return names;
}

Decision Judge::CompareSets(NodeId a, NodeId b) {
  const std::vector<NodeId> x = Items(a), y = Items(b);
  const bool x_named = x.size() > 1 && NamesInOrder(x).has_value(),
             y_named = y.size() > 1 && NamesInOrder(y).has_value();
  if (x_named != y_named) {
    // Values for several names, named on one side only: their order says which is which.
    const auto has_relation = [&](NodeId item) { return tree_[item].op == Op::kRelation; };
    const std::vector<NodeId>& bare = x_named ? y : x;
    if (std::none_of(bare.begin(), bare.end(), has_relation)) return CompareInOrder(x, y, "values in order");
  }
  Decision result = Decision::Equal("the same values");
  for (const bool forth : {true, false}) {
    const std::vector<NodeId>&from = forth ? x : y, &to = forth ? y : x;
    for (const NodeId item : from) {
      bool found = false, undecided = false;
      for (const NodeId other : to) {
        const Decision decision = forth ? Compare(item, other) : Compare(other, item);
        found |= decision.IsEqual();
        undecided |= decision.verdict == Verdict::kUndecided;
        if (found || work_.exhausted()) break;
      }
      if (found) continue;
      if (!undecided && !work_.exhausted()) return Decision::Different("a value that the other side does not have");
      result = Decision::Undecided("a value whose match is not known");
    }
  }
  return result;
}

Decision Judge::CompareInOrder(const std::vector<NodeId>& a, const std::vector<NodeId>& b, const char* rule) {
  if (a.size() != b.size()) return Decision::Different("different numbers of values");
  Decision result = Decision::Equal(rule);
  for (size_t i = 0; i < a.size(); ++i) {
    const Decision decision = Compare(a[i], b[i]);
    if (decision.IsDifferent()) return decision;
    if (!decision.IsEqual()) result = decision;
  }
  return result;
}

Decision Judge::CompareTuples(NodeId a, NodeId b) {
  const Node x = tree_[a], y = tree_[b];
  const Decision decision = CompareInOrder(x.kids, y.kids, "values in order");
  // Only two values can be an interval, whose brackets say whether its ends belong to it.
  if (x.kids.size() != 2 || x.text == y.text || !decision.IsEqual()) return decision;
  return Decision::Different("different brackets");
}

// A tuple and a bare list are equal in order; with a matrix it is a vector or rows.
Decision Judge::CompareTupleWith(NodeId tuple, NodeId other) {
  const Node t = tree_[tuple], o = tree_[other];
  if (o.op == Op::kMatrix) {
    const std::optional<NodeId> matrix = AsMatrix(tuple);
    if (matrix.has_value()) return CompareMatrices(*matrix, other);
    if (o.num_columns != 1 && o.num_columns != static_cast<int64_t>(o.kids.size()))
      return Decision::Different("a matrix and a vector");
    return CompareInOrder(t.kids, o.kids, "values in order");
  }
  if (o.op == Op::kList) {
    const bool of_tuples =
        std::any_of(o.kids.begin(), o.kids.end(), [&](NodeId kid) { return tree_[kid].op == Op::kTuple; });
    if (of_tuples || (t.kids.size() == 2 && t.text != "()")) return CompareSets(tuple, other);
    return CompareInOrder(t.kids, o.kids, "values in order");
  }
  if (o.op == Op::kSet)
    return CompareSets(tuple, other).IsEqual() ? Decision::Equal("the same values")
                                               : Decision::Different("a tuple and a set");
  return Decision::Different("several values and one");
}

Decision Judge::CompareMatrices(NodeId a, NodeId b) {
  const Node x = tree_[a], y = tree_[b];
  if (x.num_columns != y.num_columns) {
    // A row and a column are the same vector.
    const bool vectors = (x.num_columns == 1 || x.num_columns == static_cast<int64_t>(x.kids.size())) &&
                         (y.num_columns == 1 || y.num_columns == static_cast<int64_t>(y.kids.size()));
    if (!vectors) return Decision::Different("matrices of different shape");
    return Decision::Undecided("a row and a column");
  }
  return CompareInOrder(x.kids, y.kids, "entry by entry");
}

// Rows in brackets: [[1, 2], [3, 4]].
std::optional<NodeId> Judge::AsMatrix(NodeId id) {
  const Node rows = tree_[id];
  Node matrix{.op = Op::kMatrix};
  for (const NodeId row : rows.kids) {
    if (tree_[row].op != Op::kTuple) return std::nullopt;
    const std::vector<NodeId> cells = tree_[row].kids;
    if (matrix.num_columns != 0 && matrix.num_columns != static_cast<int64_t>(cells.size())) return std::nullopt;
    matrix.num_columns = cells.size();
    matrix.kids.insert(matrix.kids.end(), cells.begin(), cells.end());
  }
  return tree_.Add(std::move(matrix));
}

std::vector<NodeId> Judge::BothSigns(NodeId id) {
  const NodeId plus = WithSign(id, true);
  if (plus == id) return {id};
  return {plus, WithSign(id, false)};
}

// The node with the upper or lower sign of every +- in it; the same node when there is none.
NodeId Judge::WithSign(NodeId id, bool plus) {
  if (!work_.Spend(1)) return id;
  Node node = tree_[id];
  bool changed = false;
  for (NodeId& kid : node.kids) {
    const NodeId signed_kid = WithSign(kid, plus);
    changed |= signed_kid != kid;
    kid = signed_kid;
  }
  if (node.op == Op::kPlusMinus) {
    const bool adds = plus == (node.text == "+-");
    const NodeId last = adds ? node.kids.back() : tree_.Add(Op::kNeg, {node.kids.back()});
    return node.kids.size() == 1 ? last : tree_.Add(Op::kAdd, {node.kids[0], last});
  }
  return changed ? tree_.Add(std::move(node)) : id;
}

// Sums of matrices and products with numbers and with matrices; absent when there is none in it.
std::optional<NodeId> Judge::MatrixValue(NodeId id) {
  const Node node = tree_[id];
  if (node.op == Op::kMatrix) return id;
  if (node.op != Op::kAdd && node.op != Op::kMul && node.op != Op::kDiv && node.op != Op::kNeg) return std::nullopt;
  std::optional<NodeId> result;
  std::vector<NodeId> scalars;
  for (const NodeId kid : node.kids) {
    const std::optional<NodeId> value = MatrixValue(kid);
    if (!value.has_value()) {
      scalars.push_back(kid);
      continue;
    }
    if (!result.has_value()) {
      result = value;
      continue;
    }
    const Node left = tree_[*result], right = tree_[*value];
    Node combined{.op = Op::kMatrix, .num_columns = right.num_columns};
    if (node.op == Op::kAdd) {
      if (left.kids.size() != right.kids.size() || left.num_columns != right.num_columns) return std::nullopt;
      for (size_t i = 0; i < left.kids.size(); ++i)
        combined.kids.push_back(tree_.Add(Op::kAdd, {left.kids[i], right.kids[i]}));
    } else {
      const int64_t inner = left.num_columns, num_rows = left.kids.size() / inner;
      if (node.op != Op::kMul || static_cast<int64_t>(right.kids.size()) != inner * right.num_columns)
        return std::nullopt;
      if (!work_.Spend(num_rows * inner * right.num_columns)) return std::nullopt;
      for (int64_t row = 0; row < num_rows; ++row) {
        for (int64_t column = 0; column < right.num_columns; ++column) {
          std::vector<NodeId> terms;
          for (int64_t k = 0; k < inner; ++k) {
            terms.push_back(
                tree_.Add(Op::kMul, {left.kids[row * inner + k], right.kids[k * right.num_columns + column]}));
          }
          combined.kids.push_back(tree_.Add(Op::kAdd, std::move(terms)));
        }
      }
    }
    result = tree_.Add(std::move(combined));
  }
  if (!result.has_value() || (node.op == Op::kAdd && !scalars.empty())) return std::nullopt;
  // A matrix divides nothing.
  if (node.op == Op::kDiv && (scalars.size() != 1 || scalars[0] != node.kids[1])) return std::nullopt;
  if (scalars.empty() && node.op != Op::kNeg) return result;
  Node scaled = tree_[*result];
  for (NodeId& entry : scaled.kids) {
    std::vector<NodeId> factors = {entry};
    if (node.op != Op::kNeg) factors.insert(factors.end(), scalars.begin(), scalars.end());
    entry = tree_.Add(node.op, std::move(factors));
  }
  return tree_.Add(std::move(scaled));
}

}  // namespace grpo::math
