#include "reward/math/region.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"

namespace grpo::math {
namespace {

constexpr size_t kMaxBounds = 32;

bool IsInequality(char relation) {
  return relation == kLess || relation == kLessEqual || relation == kGreater || relation == kGreaterEqual ||
         relation == kNotEqual;
}

bool IsInfinite(const Tree& tree, NodeId id) {
  const Node& node = tree[id];
  return node.op == Op::kInfinity || (node.op == Op::kNeg && IsInfinite(tree, node.kids[0])) ||
         (node.op == Op::kAdd && node.kids.size() == 1 && IsInfinite(tree, node.kids[0]));
}

}  // namespace

bool Regions::IsOnlyRegion(NodeId id) const {
  const Node& node = tree_[id];
  switch (node.op) {
    case Op::kUnion:
    case Op::kIntersection:
    case Op::kSetMinus:
    case Op::kNumberSet:
    case Op::kEmptySet:
      return true;
    case Op::kTuple:
      return node.kids.size() == 2 && (node.text == "[)" || node.text == "(]" || IsInfinite(tree_, node.kids[0]) ||
                                       IsInfinite(tree_, node.kids[1]));
    case Op::kRelation:
      return std::any_of(node.text.begin(), node.text.end(), IsInequality) ||
             (node.text == std::string(1, kElement) && IsRegion(node.kids[1]));
    case Op::kList:
      return std::any_of(node.kids.begin(), node.kids.end(),
                         [&](NodeId kid) { return tree_[kid].op == Op::kRelation && IsOnlyRegion(kid); });
    default:
      return false;
  }
}

bool Regions::IsRegion(NodeId id) const {
  const Node& node = tree_[id];
  return IsOnlyRegion(id) || (node.op == Op::kTuple && node.kids.size() == 2) || node.op == Op::kSet;
}

Regions::Region Regions::Combine(Region::Kind kind, std::vector<Region> parts) {
  return Region{.kind = kind, .parts = std::move(parts)};
}

Regions::Region Regions::Ray(NodeId bound, char relation) {
  Region ray;
  switch (relation) {
    case kLess:
    case kLessEqual:
      ray.high = bound;
      ray.has_high = relation == kLessEqual;
      return ray;
    case kGreater:
    case kGreaterEqual:
      ray.low = bound;
      ray.has_low = relation == kGreaterEqual;
      return ray;
    default: {
      const Region point{.low = bound, .high = bound, .has_low = true, .has_high = true};
      return relation == kEqual ? point : Combine(Region::kDifference, {Region(), point});
    }
  }
}

Regions::Built Regions::Build(NodeId id, std::string* name) {
  if (!work_.Spend(5)) return std::nullopt;
  const Node node = tree_[id];
  switch (node.op) {
    case Op::kTuple:
      return BuildTuple(id);
    case Op::kEmptySet:
      return Region{.is_empty = true};
    case Op::kNumberSet:
      return node.text == "reals" ? Built(Region()) : std::nullopt;
    case Op::kRelation:
      return BuildRelation(id, name);
    case Op::kList:
      return BuildList(id, name);
    case Op::kSet: {
      Region points{.kind = Region::kUnion};
      for (const NodeId kid : node.kids) {
        if (!scalars_.IsScalar(kid) || !scalars_.Names(kid).empty()) return std::nullopt;
        points.parts.push_back(Ray(kid, kEqual));
      }
      return points;
    }
    case Op::kUnion:
    case Op::kIntersection:
    case Op::kSetMinus: {
      Region region{.kind = node.op == Op::kUnion          ? Region::kUnion
                            : node.op == Op::kIntersection ? Region::kIntersection
                                                           : Region::kDifference};
      for (const NodeId kid : node.kids) {
        Built part = Build(kid, name);
        if (!part.has_value()) return std::nullopt;
        region.parts.push_back(*std::move(part));
      }
      return region;
    }
    default:
      return std::nullopt;
  }
}

Regions::Built Regions::BuildTuple(NodeId id) {
  const Node& node = tree_[id];
  if (node.kids.size() != 2) return std::nullopt;
  Region interval{.has_low = node.text[0] == '[', .has_high = node.text[1] == ']'};
  for (const bool is_low : {true, false}) {
    const NodeId bound = node.kids[is_low ? 0 : 1];
    if (IsInfinite(tree_, bound)) {
      if (scalars_.Sign(bound) != (is_low ? -1 : 1)) return std::nullopt;
      continue;
    }
    if (!scalars_.IsScalar(bound) || !scalars_.Names(bound).empty()) return std::nullopt;
    (is_low ? interval.low : interval.high) = bound;
  }
  return interval;
}

// Conditions of which one or all hold; with commas all, unless nothing would be left.
Regions::Built Regions::BuildList(NodeId id, std::string* name) {
  const Node node = tree_[id];
  std::vector<Region> parts;
  bool are_relations = true;
  // "x != 0, 1" says x != 1, too.
  NodeId excluded_from = -1;
  for (const NodeId kid : node.kids) {
    const bool is_relation = tree_[kid].op == Op::kRelation;
    if (is_relation) excluded_from = tree_[kid].text == std::string(1, kNotEqual) ? tree_[kid].kids[0] : -1;
    const bool is_excluded = !is_relation && excluded_from >= 0 && scalars_.IsScalar(kid);
    are_relations &= is_relation || is_excluded;
    Built part = is_excluded ? BuildInequality(excluded_from, kNotEqual, kid, name) : Build(kid, name);
    if (!part.has_value()) return std::nullopt;
    parts.push_back(*std::move(part));
  }
  if (node.text == "o" || !are_relations) return Combine(Region::kUnion, std::move(parts));
  Region all = Combine(Region::kIntersection, parts);
  if (node.text != "a" && IsEmpty(all)) return Combine(Region::kUnion, std::move(parts));
  return all;
}

Regions::Built Regions::BuildRelation(NodeId id, std::string* name) {
  const Node node = tree_[id];
  if (node.text == std::string(1, kElement) || node.text == std::string(1, kNotElement)) {
    const std::string element = tree_.ToString(node.kids[0]);
    if (!name->empty() && *name != element) return std::nullopt;
    *name = element;
    Built region = Build(node.kids[1], name);
    if (!region.has_value() || node.text[0] == kElement) return region;
    return Combine(Region::kDifference, {Region(), *std::move(region)});
  }
  Region all{.kind = Region::kIntersection};
  for (size_t i = 0; i < node.text.size(); ++i) {
    Built part = BuildInequality(node.kids[i], node.text[i], node.kids[i + 1], name);
    if (!part.has_value()) return std::nullopt;
    all.parts.push_back(*std::move(part));
  }
  return all;
}

Regions::Built Regions::BuildInequality(NodeId left, char relation, NodeId right, std::string* name) {
  if (!IsInequality(relation) && relation != kEqual) return std::nullopt;
  if (scalars_.IsScalar(left) && scalars_.Names(left).empty()) {
    std::swap(left, right);
    relation = Flipped(relation);
  }
  if (!scalars_.IsScalar(left) || !scalars_.IsScalar(right)) return std::nullopt;
  if (tree_[left].op == Op::kFunction && tree_[left].text == "abs" && scalars_.Names(right).empty()) {
    return BuildAbsolute(tree_[left].kids[0], relation, right, name);
  }
  if (IsInfinite(tree_, right)) {
    // "x < infinity" says nothing.
    const bool holds = scalars_.Sign(right) == 1 ? relation == kLess || relation == kNotEqual
                                                 : relation == kGreater || relation == kNotEqual;
    return holds && LinearIn(left, name).has_value() ? Built(Region()) : std::nullopt;
  }
  // left - right = coefficient * name + constant.
  const NodeId difference = tree_.Add(Op::kAdd, {left, tree_.Add(Op::kNeg, {right})});
  const std::optional<Linear> linear = LinearIn(difference, name);
  if (!linear.has_value()) return std::nullopt;
  const std::optional<int> sign = scalars_.Sign(linear->coefficient);
  if (!sign.has_value() || *sign == 0) return std::nullopt;
  const NodeId bound = tree_.Add(Op::kNeg, {tree_.Add(Op::kDiv, {linear->constant, linear->coefficient})});
  return Ray(bound, *sign > 0 ? relation : Flipped(relation));
}

// |u| < c is -c < u < c, |u| > c the rest.
Regions::Built Regions::BuildAbsolute(NodeId inside, char relation, NodeId bound, std::string* name) {
  const std::optional<int> sign = scalars_.Sign(bound);
  if (!sign.has_value() || *sign < 0) return std::nullopt;
  const bool is_inside = relation == kLess || relation == kLessEqual || relation == kNotEqual;
  Built above = BuildInequality(inside, relation, bound, name);
  Built below = BuildInequality(inside, Flipped(relation), tree_.Add(Op::kNeg, {bound}), name);
  if (!above.has_value() || !below.has_value()) return std::nullopt;
  return Combine(is_inside ? Region::kIntersection : Region::kUnion, {*std::move(above), *std::move(below)});
}

std::optional<Regions::Linear> Regions::LinearIn(NodeId id, std::string* name) {
  if (!work_.Spend(1)) return std::nullopt;
  const Node node = tree_[id];
  if (scalars_.Names(id).empty()) return Linear{tree_.Number(0), id};
  switch (node.op) {
    case Op::kNeg: {
      const std::optional<Linear> inside = LinearIn(node.kids[0], name);
      if (!inside.has_value()) return inside;
      return Linear{tree_.Add(Op::kNeg, {inside->coefficient}), tree_.Add(Op::kNeg, {inside->constant})};
    }
    case Op::kAdd: {
      std::vector<NodeId> coefficients, constants;
      for (const NodeId kid : node.kids) {
        const std::optional<Linear> part = LinearIn(kid, name);
        if (!part.has_value()) return part;
        coefficients.push_back(part->coefficient);
        constants.push_back(part->constant);
      }
      return Linear{tree_.Add(Op::kAdd, std::move(coefficients)), tree_.Add(Op::kAdd, std::move(constants))};
    }
    case Op::kMul:
    case Op::kDiv: {
      const bool first_closed = scalars_.Names(node.kids[0]).empty();
      if (node.kids.size() != 2 || (node.op == Op::kDiv && first_closed)) return std::nullopt;
      const NodeId scale = node.kids[first_closed ? 0 : 1], rest = node.kids[first_closed ? 1 : 0];
      // x y is a name of its own where it is all there is.
      if (!scalars_.Names(scale).empty()) return std::nullopt;
      const std::optional<Linear> part = LinearIn(rest, name);
      if (!part.has_value()) return part;
      return Linear{tree_.Add(node.op, {part->coefficient, scale}), tree_.Add(node.op, {part->constant, scale})};
    }
    case Op::kSymbol:
    case Op::kFunction: {
      const std::string text = tree_.ToString(id);
      if (!name->empty() && *name != text) return std::nullopt;
      *name = text;
      return Linear{tree_.Number(1), tree_.Number(0)};
    }
    default:
      return std::nullopt;
  }
}

bool Regions::Collect(const Region& region) {
  for (const std::optional<NodeId>& bound : {region.low, region.high}) {
    if (!bound.has_value() || IndexOf(*bound) >= 0) continue;
    if (bounds_.size() >= kMaxBounds) return false;
    size_t at = 0;
    bool is_new = true;
    for (; at < bounds_.size(); ++at) {
      const std::optional<int> sign = scalars_.Sign(tree_.Add(Op::kAdd, {*bound, tree_.Add(Op::kNeg, {bounds_[at]})}));
      if (!sign.has_value()) return false;
      is_new = *sign != 0;
      if (*sign <= 0) break;
    }
    if (is_new) bounds_.insert(bounds_.begin() + at, *bound);
    same_as_.emplace_back(*bound, bounds_[at]);
  }
  return std::all_of(region.parts.begin(), region.parts.end(), [&](const Region& part) { return Collect(part); });
}

int Regions::IndexOf(NodeId bound) const {
  for (const auto& [node, place] : same_as_) {
    if (node == bound) return static_cast<int>(std::find(bounds_.begin(), bounds_.end(), place) - bounds_.begin());
  }
  return -1;
}

bool Regions::Contains(const Region& region, int cell) const {
  const auto holds = [&](const Region& part) { return Contains(part, cell); };
  switch (region.kind) {
    case Region::kUnion:
      return std::any_of(region.parts.begin(), region.parts.end(), holds);
    case Region::kIntersection:
      return std::all_of(region.parts.begin(), region.parts.end(), holds);
    case Region::kDifference:
      return holds(region.parts[0]) && !holds(region.parts[1]);
    default:
      break;
  }
  if (region.is_empty) return false;
  const int low = region.low.has_value() ? 2 * IndexOf(*region.low) + 1 : -1;
  const int high = region.high.has_value() ? 2 * IndexOf(*region.high) + 1 : 2 * static_cast<int>(bounds_.size()) + 1;
  return (cell > low || (cell == low && region.has_low)) && (cell < high || (cell == high && region.has_high));
}

bool Regions::IsEmpty(const Region& region) {
  if (!Collect(region)) return false;
  for (int cell = 0; cell <= 2 * static_cast<int>(bounds_.size()); ++cell) {
    if (Contains(region, cell)) return false;
  }
  return true;
}

Decision Regions::Compare(NodeId a, NodeId b) {
  std::string name_a, name_b;
  const Built x = Build(a, &name_a), y = Build(b, &name_b);
  if (!x.has_value() || !y.has_value()) return Decision::Undecided("a region that is not known");
  if (!Collect(*x) || !Collect(*y)) return Decision::Undecided("bounds whose order is not proven");
  if (!name_a.empty() && !name_b.empty() && name_a != name_b)
    return Decision::Different("inequalities in different names");
  for (int cell = 0; cell <= 2 * static_cast<int>(bounds_.size()); ++cell) {
    if (Contains(*x, cell) != Contains(*y, cell)) return Decision::Different("sets of real numbers");
  }
  // An interval upside down holds nothing, and is a pair then.
  const bool both_empty = IsEmpty(*x) && IsEmpty(*y);
  if (both_empty && (tree_[a].op == Op::kTuple || tree_[b].op == Op::kTuple))
    return Decision::Undecided("an empty interval");
  return Decision::Equal("sets of real numbers");
}

}  // namespace grpo::math
