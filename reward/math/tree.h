// An answer as a tree: what its notation says, nothing evaluated. Both sides of a comparison live in one tree, so that
// expressions are made of parts of both.
#ifndef GRPO_REWARD_MATH_TREE_H_
#define GRPO_REWARD_MATH_TREE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "reward/math/rational.h"

namespace grpo::math {

using NodeId = int32_t;

enum class Op : uint8_t {
  // Scalars. `value`; a decimal literal also has its digits.
  kNumber,
  // A variable, or a name of several letters; `text`.
  kSymbol,
  kPi,
  kE,
  kI,
  kInfinity,
  kAdd,
  kMul,
  kDiv,
  kNeg,
  kPow,
  // kids: radicand, index.
  kRoot,
  // `text` names it: "sin", "log" (kids: argument, base), "factorial", "binom", "abs", "f", "sum", ...
  kFunction,
  // kids: a, b for a +- b; `text` is "+-" or "-+". One kid for +- b.
  kPlusMinus,
  kPercent,
  // kids: the magnitude; `text` is the unit as units.h writes it.
  kQuantity,
  // Several values. Ordered; `text` is the pair of brackets, "()", "[)", "(]" or "[]": an interval when it has two kids
  // and the counterpart is one.
  kTuple,
  // Unordered, in braces.
  kSet,
  // Unordered, bare; `text` is what separates: ",", ";", "or", "and".
  kList,
  // Row by row; `num_columns`.
  kMatrix,
  kRatio,
  // Operands with a relation between each two: `text` has one character each, see kRelation* below.
  kRelation,
  kUnion,
  kIntersection,
  kSetMinus,
  kEmptySet,
  // "reals", "integers", "naturals", "rationals", "complexes".
  kNumberSet,
  // Words, lower-case, one blank between two.
  kText,
};

// The characters of a kRelation's text.
inline constexpr char kEqual = '=', kNotEqual = 'n', kLess = '<', kLessEqual = 'l', kGreater = '>', kGreaterEqual = 'g',
                      kApproximately = '~', kElement = 'e', kNotElement = 'o', kCongruent = 'c', kSubset = 's';

// The relation as it reads from the other side.
inline char Flipped(char relation) {
  switch (relation) {
    case kLess:
      return kGreater;
    case kGreater:
      return kLess;
    case kLessEqual:
      return kGreaterEqual;
    case kGreaterEqual:
      return kLessEqual;
    default:
      return relation;
  }
}

struct Node {
  Op op;
  std::string text = {};
  std::vector<NodeId> kids = {};
  Rational value = Rational();
  // A decimal literal: the exponent of ten of its last digit, and its digits from the first that is not 0.
  bool is_decimal = false;
  int64_t last_digit_exponent = 0;
  int64_t num_significant_digits = 0;
  int64_t num_columns = 0;
  // Of "1000,99": the list is a decimal when its counterpart is one. -1 for others.
  NodeId as_decimal = -1;
  // Of letters side by side without any mark, "dog": the same as text. -1 for others.
  NodeId as_word = -1;
};

// Thread-compatible.
class Tree {
 public:
  NodeId Add(Node node) {
    nodes_.push_back(std::move(node));
    return static_cast<NodeId>(nodes_.size()) - 1;
  }
  NodeId Add(Op op, std::vector<NodeId> kids) { return Add(Node{.op = op, .kids = std::move(kids)}); }
  NodeId Number(Rational value) { return Add(Node{.op = Op::kNumber, .value = std::move(value)}); }
  NodeId Number(int64_t value) { return Number(Rational(value)); }
  NodeId Function(absl::string_view name, std::vector<NodeId> kids) {
    return Add(Node{.op = Op::kFunction, .text = std::string(name.data(), name.size()), .kids = std::move(kids)});
  }

  const Node& operator[](NodeId id) const { return nodes_[id]; }
  Node& at(NodeId id) { return nodes_[id]; }
  size_t size() const { return nodes_.size(); }
  // Forgets the last nodes, so that `size` are left; nothing that stays holds one of them.
  void Truncate(size_t size) { nodes_.erase(nodes_.begin() + static_cast<std::ptrdiff_t>(size), nodes_.end()); }

  // The same in form: operators, names, values, order.
  bool SameForm(NodeId a, NodeId b) const;
  // The normal text of a node, for reasons and as the key of what is compared by form.
  std::string ToString(NodeId id) const;

 private:
  void Write(NodeId id, std::string* out) const;

  std::vector<Node> nodes_;
};

}  // namespace grpo::math

#endif  // GRPO_REWARD_MATH_TREE_H_
