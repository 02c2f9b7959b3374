// Equations, assignments and inequalities.
#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "reward/math/exact.h"
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

// name = value, name = a = b where a and b are equal, value ~ its decimals, name in a set; formulas may stand between a
// name and its value: A = lw/2 = 3*4/2 = 6.
std::optional<Judge::Assignment> Judge::AssignmentOf(NodeId id) {
  const Node node = tree_[id];
  if (node.text == std::string(1, kElement)) {
    if (!IsNameLike(node.kids[0])) return std::nullopt;
    return Assignment{node.kids[0], node.kids[1]};
  }
  if (const std::optional<Congruence> congruence = CongruenceOf(id); congruence.has_value()) {
    const bool is_turned = !IsNameLike(congruence->left);
    const NodeId name = is_turned ? congruence->right : congruence->left;
    if (!IsNameLike(name)) return std::nullopt;
    const NodeId value = is_turned ? congruence->left : congruence->right;
    return Assignment{name, tree_.Function("mod", {value, congruence->modulus})};
  }
  if (node.text.find_first_not_of({kEqual, kApproximately}) != std::string::npos) return std::nullopt;
  std::vector<NodeId> kids = node.kids;
  NodeId name = kids[0];
  if (kids.size() == 2 && !IsNameLike(kids[0]) && IsNameLike(kids[1]) && node.text == kEquals)
    std::swap(kids[0], kids[1]);
  size_t first = 0;
  while (first + 1 < kids.size() && IsNameLike(kids[first])) name = kids[first++];
  if (first == 0 && kids.size() == 2 && node.text == kEquals && !scalars_.Names(kids[0]).empty()) return std::nullopt;
  const std::optional<size_t> value = ValueIn(node, kids, first);
  if (!value.has_value()) return std::nullopt;
  return Assignment{first == 0 ? kids[*value] : name, kids[*value]};
}

std::optional<size_t> Judge::ValueIn(const Node& chain, const std::vector<NodeId>& members, size_t first) {
  const std::set<std::string> names = scalars_.Names(members.back());
  // A formula holds names that the value has no more.
  const auto is_formula = [&](NodeId member) {
    const std::set<std::string> own = scalars_.Names(member);
    return scalars_.IsScalar(member) && own.size() > names.size() &&
           std::includes(own.begin(), own.end(), names.begin(), names.end());
  };
  size_t at = first;
  while (at + 1 < members.size() && is_formula(members[at])) ++at;
  const size_t num_formulas = at - first;
  // All that follow say the same again.
  for (size_t i = at + 1; i < members.size(); ++i) {
    const NodeId member = members[i];
    const bool shows = chain.text[i - 1] == kApproximately && scalars_.IsScalar(member) &&
                       scalars_.IsScalar(members[at]) && scalars_.ShowsDigitsOf(member, members[at]);
    if (!shows && !Compare(member, members[at]).IsEqual()) return std::nullopt;
  }
  // An equation of several unknowns is no calculation: one formula, or a value that is there twice.
  const bool is_calculated = num_formulas == 0 || (num_formulas == 1 && first > 0) || at + 1 < members.size();
  return is_calculated ? std::optional<size_t>(at) : std::nullopt;
}

Decision Judge::CompareRelationWith(NodeId relation, NodeId value) {
  const std::optional<Assignment> assignment = AssignmentOf(relation);
  if (!assignment.has_value()) {
    const bool is_equation = tree_[relation].text == kEquals;
    return is_equation && scalars_.IsScalar(value) ? Decision::Different("an equation and an expression")
                                                   : Decision::Undecided("a relation and a value");
  }
  const bool was_in_relation = std::exchange(in_relation_, tree_[assignment->name].op != Op::kText);
  const Decision decision = Compare(assignment->value, value);
  in_relation_ = was_in_relation;
  return decision;
}

Decision Judge::CompareRelations(NodeId a, NodeId b) {
  const auto names_text = [&](NodeId id) { return tree_[tree_[id].kids[0]].op == Op::kText; };
  const bool was_in_relation = std::exchange(in_relation_, !names_text(a) || !names_text(b));
  const Decision decision = CompareRelationsOf(a, b);
  in_relation_ = was_in_relation;
  return decision;
}

Decision Judge::CompareRelationsOf(NodeId a, NodeId b) {
  const Node x = tree_[a], y = tree_[b];
  const std::optional<Congruence> congruence_a = CongruenceOf(a), congruence_b = CongruenceOf(b);
  if (congruence_a.has_value() && congruence_b.has_value()) return CompareCongruences(*congruence_a, *congruence_b);
  if (congruence_a.has_value() != congruence_b.has_value()) return Decision::Undecided("a congruence and a relation");
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
  if (const std::optional<Decision> chains = CompareChains(a, b); chains.has_value()) return *chains;
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

bool Judge::IsResidue(NodeId id) const {
  return tree_[id].op == Op::kFunction && tree_[id].text == "mod" && tree_[id].kids.size() == 2;
}

// x = 3 (mod 7), with either sign.
std::optional<Judge::Congruence> Judge::CongruenceOf(NodeId id) const {
  const Node& node = tree_[id];
  if (node.kids.size() != 2 || (node.text[0] != kCongruent && node.text[0] != kEqual) || !IsResidue(node.kids[1]))
    return std::nullopt;
  const Node& residue = tree_[node.kids[1]];
  return Congruence{node.kids[0], residue.kids[0], residue.kids[1]};
}

// The differences of both sides, or one and the other turned round, are the same up to multiples of the modulus.
Decision Judge::CompareCongruences(const Congruence& a, const Congruence& b) {
  for (const NodeId side : {a.left, a.right, b.left, b.right}) {
    if (!scalars_.IsScalar(side)) return Decision::Undecided("congruences of something else than numbers");
  }
  const auto difference = [&](NodeId left, NodeId right) {
    return tree_.Add(Op::kAdd, {left, tree_.Add(Op::kNeg, {right})});
  };
  const NodeId of_a = difference(a.left, a.right);
  for (const NodeId of_b : {difference(b.left, b.right), difference(b.right, b.left)}) {
    const Decision decision = CompareResidues(of_a, of_b, a.modulus, b.modulus);
    if (decision.IsEqual()) return decision;
  }
  // A name and a number on both: another name, number or modulus is another statement.
  const auto is_name = [&](NodeId id) { return tree_[id].op == Op::kSymbol; };
  const bool are_names =
      is_name(a.left) && is_name(b.left) && scalars_.Names(a.right).empty() && scalars_.Names(b.right).empty();
  if (!are_names) return Decision::Undecided("congruences");
  if (!tree_.SameForm(a.left, b.left)) return Decision::Different("different names");
  return CompareResidues(a.right, b.right, a.modulus, b.modulus);
}

Decision Judge::CompareResidues(NodeId a, NodeId b, NodeId modulus_a, NodeId modulus_b) {
  const Exact x = EvaluateExactly(tree_, modulus_a, &work_), y = EvaluateExactly(tree_, modulus_b, &work_);
  if (x.ok() && y.ok() && x.value.Sign() != 0 && y.value.Sign() != 0) {
    if (!(x.value.Abs() == y.value.Abs())) return Decision::Different("different moduli");
    const std::optional<Rational> excess = scalars_.RationalDifference(a, b);
    if (!excess.has_value()) return Decision::Undecided("residues of something else than numbers");
    return (*excess / x.value).IsInteger() ? Decision::Equal("residues") : Decision::Different("residues");
  }
  if (!scalars_.IsScalar(modulus_a) || !scalars_.IsScalar(modulus_b)) return Decision::Undecided("moduli");
  const bool same = scalars_.Compare(modulus_a, modulus_b).IsEqual() && scalars_.Compare(a, b).IsEqual();
  return same ? Decision::Equal("residues") : Decision::Undecided("moduli that are no numbers");
}

// C < A < B is B > A > C. Different only where all members are names, each once.
std::optional<Decision> Judge::CompareChains(NodeId a, NodeId b) {
  const Node x = tree_[a];
  Node y = tree_[b];
  if (x.kids.size() != y.kids.size() || x.kids.size() < 3) return std::nullopt;
  bool are_orders = true;
  for (const char relation : x.text + y.text) {
    if (!IsOrder(relation) && relation != kEqual) return std::nullopt;
    are_orders &= IsOrder(relation);
  }
  std::reverse(y.kids.begin(), y.kids.end());
  std::reverse(y.text.begin(), y.text.end());
  std::transform(y.text.begin(), y.text.end(), y.text.begin(), Flipped);
  bool same = x.text == y.text;
  for (size_t i = 0; i < x.kids.size() && same; ++i) same = Compare(x.kids[i], y.kids[i]).IsEqual();
  if (same) return Decision::Equal("a chain turned round");
  std::set<std::string> names[2];
  for (const NodeId kid : x.kids) names[0].merge(scalars_.Names(kid));
  for (const NodeId kid : y.kids) names[1].merge(scalars_.Names(kid));
  const auto is_name = [&](NodeId id) { return tree_[id].op == Op::kSymbol; };
  const bool are_names = std::all_of(x.kids.begin(), x.kids.end(), is_name) &&
                         std::all_of(y.kids.begin(), y.kids.end(), is_name) && names[0].size() == x.kids.size() &&
                         names[1].size() == y.kids.size();
  // One direction in each, so that they order all names.
  const auto is_one_way = [](const std::string& text) {
    return text.find_first_of({kLess, kLessEqual}) == std::string::npos ||
           text.find_first_of({kGreater, kGreaterEqual}) == std::string::npos;
  };
  if (are_orders && are_names && is_one_way(x.text) && is_one_way(y.text))
    return Decision::Different("chains of inequalities");
  return std::nullopt;
}

}  // namespace grpo::math
