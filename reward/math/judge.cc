#include "reward/math/judge.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "reward/math/exact.h"
#include "reward/math/region.h"

namespace grpo::math {
namespace {

constexpr int kMaxDepth = 64;
constexpr char kPercent[] = "%";

// Texts that say the same, by the first of each row.
constexpr absl::string_view kSameTexts[][2] = {
    {"no solution", "no solutions"},      {"no solution", "no real solution"},
    {"no solution", "no real solutions"}, {"does not exist", "dne"},
    {"does not exist", "doesn't exist"},  {"all real numbers", "all reals"},
    {"all real numbers", "real numbers"}, {"impossible", "not possible"},
    {"infinitely many", "infinite"},      {"infinitely many", "infinitely many solutions"},
};

std::string Standard(absl::string_view text) {
  for (const auto& row : kSameTexts) {
    if (row[1] == text) return std::string(row[0].data(), row[0].size());
  }
  return std::string(text.data(), text.size());
}

}  // namespace

Decision Judge::Compare(NodeId a, NodeId b) {
  if (tree_.SameForm(a, b)) return Decision::Equal("same form");
  if (!work_.Spend(2) || depth_ >= kMaxDepth) return Decision::Undecided("over budget");
  ++depth_;
  const Decision decision = CompareUnlike(Expand(a), Expand(b));
  --depth_;
  return decision;
}

Decision Judge::CompareUnlike(NodeId a, NodeId b) {
  const Op x = tree_[a].op, y = tree_[b].op;
  const auto is = [&](Op op) { return x == op || y == op; };
  if (const std::optional<Decision> decimals = CompareDecimalCommas(a, b); decimals.has_value()) return *decimals;
  if (const std::optional<Decision> words = CompareWords(a, b); words.has_value()) return *words;
  if (is(Op::kText)) return CompareText(a, b);
  if (x == Op::kRelation && y == Op::kRelation) return CompareRelations(a, b);
  Regions regions(&tree_, &scalars_, &work_);
  const bool is_region = regions.IsOnlyRegion(a) || regions.IsOnlyRegion(b);
  if (is_region && regions.IsRegion(a) && regions.IsRegion(b)) {
    const Decision decision = regions.Compare(a, b);
    const bool lists = x == Op::kList && y == Op::kList;
    if (decision.verdict != Verdict::kUndecided || (!lists && x != y)) return decision;
  }
  if (is(Op::kRelation)) {
    const Decision decision = x == Op::kRelation ? CompareRelationWith(a, b) : CompareRelationWith(b, a);
    return decision;
  }
  if (x == Op::kTuple && y == Op::kTuple) return CompareTuples(a, b);
  if (x == Op::kMatrix && y == Op::kMatrix) return CompareMatrices(a, b);
  if (is(Op::kTuple)) return x == Op::kTuple ? CompareTupleWith(a, b) : CompareTupleWith(b, a);
  if (is(Op::kSet) || is(Op::kList)) return CompareSets(a, b);
  if (is(Op::kMatrix)) return Decision::Different("a matrix and something else");
  if (is(Op::kRatio)) return CompareRatios(a, b);
  if (is_region) return Decision::Different("a set of numbers and a number");
  return CompareScalars(a, b);
}

std::optional<Decision> Judge::CompareDecimalCommas(NodeId a, NodeId b) {
  const NodeId decimal_a = tree_[a].as_decimal, decimal_b = tree_[b].as_decimal;
  if (!decimal_comma_ || (decimal_a < 0 && decimal_b < 0)) return std::nullopt;
  if (decimal_a >= 0 && decimal_b >= 0) return scalars_.Compare(decimal_a, decimal_b);
  if (!scalars_.IsScalar(decimal_a >= 0 ? b : a)) return std::nullopt;
  return decimal_a >= 0 ? CompareScalars(decimal_a, b) : CompareScalars(a, decimal_b);
}

// Letters without any mark are words, not products whose factors may stand in any order: "dog" is not "god". Of x, y
// and z nobody makes words.
std::optional<Decision> Judge::CompareWords(NodeId a, NodeId b) const {
  const NodeId word_a = tree_[a].as_word, word_b = tree_[b].as_word;
  if (in_relation_ || word_a < 0 || word_b < 0) return std::nullopt;
  const auto is_product = [&](NodeId word) { return tree_[word].text.find_first_not_of("xyz") == std::string::npos; };
  if (is_product(word_a) && is_product(word_b)) return std::nullopt;
  return CompareText(word_a, word_b);
}

std::string Judge::Letters(NodeId id) const {
  const Node& node = tree_[id];
  if (node.op == Op::kSymbol || node.op == Op::kText) return absl::AsciiStrToLower(node.text);
  if (node.op == Op::kE) return "e";
  if (node.op == Op::kI) return "i";
  std::string letters;
  if (node.op != Op::kMul) return letters;
  for (const NodeId kid : node.kids) {
    const std::string part = Letters(kid);
    if (part.empty()) return part;
    letters += part;
  }
  return letters;
}

Decision Judge::CompareText(NodeId a, NodeId b) const {
  const Node &x = tree_[a], &y = tree_[b];
  if (x.op != Op::kText || y.op != Op::kText) {
    const Node &text = x.op == Op::kText ? x : y, &other = x.op == Op::kText ? y : x;
    const std::string standard = Standard(text.text);
    if (other.op == Op::kEmptySet && standard == "no solution") return Decision::Equal("the empty set in words");
    if (other.op == Op::kNumberSet && other.text == "reals" && standard == "all real numbers") {
      return Decision::Equal("the real numbers in words");
    }
    if (!Letters(x.op == Op::kText ? b : a).empty() && Letters(a) == Letters(b)) return Decision::Equal("same text");
    return Decision::Undecided("words against mathematics");
  }
  if (Standard(x.text) == Standard(y.text)) return Decision::Equal("same text");
  const bool single = !absl::StrContains(x.text, " ") && !absl::StrContains(y.text, " ");
  return single ? Decision::Different("different words") : Decision::Undecided("different texts");
}

Decision Judge::CompareScalars(NodeId a, NodeId b) {
  const std::optional<Quantity> x = QuantityOf(a), y = QuantityOf(b);
  if (!x.has_value() || !y.has_value()) return Decision::Undecided("units in an expression");
  if (!x->unit.empty() && !y->unit.empty()) return CompareQuantities(*x, *y);
  if (!x->unit.empty()) return CompareWithBare(*x, b);
  if (!y->unit.empty()) return CompareWithBare(*y, a);
  // "3 (mod 7)": a missing modulus is forgiven.
  if (IsResidue(a) && IsResidue(b))
    return CompareResidues(tree_[a].kids[0], tree_[b].kids[0], tree_[a].kids[1], tree_[b].kids[1]);
  if (IsResidue(a) || IsResidue(b))
    return scalars_.Compare(IsResidue(a) ? tree_[a].kids[0] : a, IsResidue(b) ? tree_[b].kids[0] : b);
  // The letter of a choice, whatever its case.
  const bool single = tree_[a].kids.empty() && tree_[b].kids.empty();
  const std::string letter = single ? Letters(a) : "";
  if (letter.size() == 1 && letter == Letters(b)) return Decision::Equal("same letter");
  return scalars_.Compare(a, b);
}

std::optional<Judge::Quantity> Judge::QuantityOf(NodeId id) {
  const Node node = tree_[id];
  switch (node.op) {
    case Op::kQuantity:
      return Quantity{node.kids[0], node.text};
    case Op::kPercent:
      return Quantity{node.kids[0], kPercent};
    case Op::kNeg: {
      std::optional<Quantity> quantity = QuantityOf(node.kids[0]);
      if (quantity.has_value())
        quantity->magnitude = quantity->unit.empty() ? id : tree_.Add(Op::kNeg, {quantity->magnitude});
      return quantity;
    }
    case Op::kAdd: {
      // "2 hours 30 minutes", in the unit of the last.
      std::vector<Quantity> parts;
      for (const NodeId kid : node.kids) {
        std::optional<Quantity> part = QuantityOf(kid);
        if (!part.has_value()) return std::nullopt;
        parts.push_back(*std::move(part));
      }
      if (std::all_of(parts.begin(), parts.end(), [](const Quantity& part) { return part.unit.empty(); }))
        return Quantity{id, ""};
      const Dimension last = DimensionOf(parts.back().unit);
      std::vector<NodeId> magnitudes;
      for (const Quantity& part : parts) {
        const Dimension dimension = DimensionOf(part.unit);
        if (dimension.base != last.base || part.unit == kPercent) return std::nullopt;
        magnitudes.push_back(tree_.Add(Op::kMul, {part.magnitude, tree_.Number(dimension.factor / last.factor)}));
      }
      return Quantity{tree_.Add(Op::kAdd, std::move(magnitudes)), parts.back().unit};
    }
    default:
      return Quantity{id, ""};
  }
}

Decision Judge::CompareQuantities(const Quantity& a, const Quantity& b) {
  if (a.unit == b.unit) return scalars_.Compare(a.magnitude, b.magnitude);
  if (a.unit == kPercent || b.unit == kPercent) return Decision::Different("different units");
  const Dimension x = DimensionOf(a.unit), y = DimensionOf(b.unit);
  if (x.base != y.base) {
    const bool angles = (a.unit == "degree" && b.unit == "radian") || (a.unit == "radian" && b.unit == "degree");
    if (!angles) return Decision::Different("different units");
    const NodeId left = tree_.Add(Node{.op = Op::kQuantity, .text = a.unit, .kids = {a.magnitude}});
    const NodeId right = tree_.Add(Node{.op = Op::kQuantity, .text = b.unit, .kids = {b.magnitude}});
    return scalars_.Compare(left, right);
  }
  if (x.factor == y.factor) return scalars_.Compare(a.magnitude, b.magnitude);
  const NodeId left = tree_.Add(Op::kMul, {a.magnitude, tree_.Number(x.factor)});
  const NodeId right = tree_.Add(Op::kMul, {b.magnitude, tree_.Number(y.factor)});
  return scalars_.Compare(left, right);
}

// A missing unit is forgiven. A percentage is its number and its fraction, an angle its degrees and its radians.
Decision Judge::CompareWithBare(const Quantity& quantity, NodeId bare) {
  const Decision as_is = scalars_.Compare(quantity.magnitude, bare);
  if (as_is.IsEqual()) return as_is;
  if (quantity.unit == kPercent) {
    const Decision fraction = scalars_.Compare(tree_.Add(Op::kPercent, {quantity.magnitude}), bare);
    return fraction.IsDifferent() ? as_is : fraction;
  }
  if (quantity.unit == "degree" || quantity.unit == "radian") {
    const NodeId degrees = tree_.Add(Node{.op = Op::kQuantity, .text = "degree", .kids = {quantity.magnitude}});
    const NodeId of_bare = tree_.Add(Node{.op = Op::kQuantity, .text = "degree", .kids = {bare}});
    const Decision radians =
        quantity.unit == "degree" ? scalars_.Compare(degrees, bare) : scalars_.Compare(quantity.magnitude, of_bare);
    return radians.IsDifferent() ? as_is : radians;
  }
  // A letter after a number is a unit where the other side has one: "0.12 m" for 12 centimeters.
  const Node node = tree_[bare];
  if (node.op != Op::kMul || node.kids.size() != 2 || tree_[node.kids[1]].op != Op::kSymbol) return as_is;
  const std::string unit = UnitName(tree_[node.kids[1]].text);
  return unit.empty() ? as_is : CompareQuantities(quantity, {node.kids[0], unit});
}

Decision Judge::CompareRatios(NodeId a, NodeId b) {
  if (tree_[a].op != Op::kRatio) std::swap(a, b);
  std::vector<NodeId> x = tree_[a].kids, y = tree_[b].kids;
  for (const NodeId kid : x) {
    if (!scalars_.IsScalar(kid)) return Decision::Undecided("a ratio of something else");
  }
  if (tree_[b].op != Op::kRatio) {
    if (x.size() != 2 || !scalars_.IsScalar(b)) return Decision::Different("a ratio and something else");
    return CompareScalars(tree_.Add(Op::kDiv, {x[0], x[1]}), b);
  }
  if (x.size() != y.size()) return Decision::Different("ratios of different length");
  // Equal when all quotients of the first are: x0 yi = y0 xi; a zero is a zero on both sides.
  Decision result = Decision::Equal("ratios");
  for (size_t i = 0; i < x.size(); ++i) {
    if (!scalars_.IsScalar(y[i])) return Decision::Undecided("a ratio of something else");
    const std::optional<int> sign_x = scalars_.Sign(x[i]), sign_y = scalars_.Sign(y[i]);
    if (sign_x == 0 || sign_y == 0) {
      const Decision same = CompareInOrder(x, y, "ratios with a zero");
      return same.IsEqual() ? same : Decision::Different("ratios with a zero");
    }
    const Decision product = scalars_.Compare(tree_.Add(Op::kMul, {x[0], y[i]}), tree_.Add(Op::kMul, {y[0], x[i]}));
    if (product.IsDifferent()) return product;
    if (!product.IsEqual()) result = product;
  }
  return result;
}

NodeId Judge::Expand(NodeId id) {
  const Op op = tree_[id].op;
  if (op == Op::kAdd || op == Op::kMul || op == Op::kDiv || op == Op::kNeg || op == Op::kFunction) {
    const std::optional<NodeId> matrix = MatrixValue(id);
    if (matrix.has_value()) return *matrix;
  }
  const bool may_hold_signs =
      op != Op::kText && op != Op::kSet && op != Op::kList && op != Op::kRelation && op != Op::kTuple;
  if (!may_hold_signs) return id;
  std::vector<NodeId> both = BothSigns(id);
  return both.size() == 1 ? id : tree_.Add(Op::kSet, std::move(both));
}

}  // namespace grpo::math
