#include "reward/math/scalar.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "reward/math/algebra.h"
#include "reward/math/ball.h"
#include "reward/math/constant.h"
#include "reward/math/exact.h"
#include "reward/math/power_sum.h"

namespace grpo::math {
namespace {

constexpr int64_t kPrecisions[] = {96, 512};
constexpr int64_t kApproximationPrecision = 256;

// Values that names stand for at a point; the first points are positive, the others of both signs.
constexpr int64_t kValues[][2] = {{17, 10}, {29, 20}, {11, 13}, {31, 12}, {7, 9}, {41, 17}, {23, 19}, {13, 6}};
constexpr int kNumPoints = 8, kNumPositivePoints = 4;

Point PointFor(const std::set<std::string>& names, int index) {
  Point point;
  int k = 0;
  for (const std::string& name : names) {
    const auto& value = kValues[(3 * index + 5 * k) % std::size(kValues)];
    const Rational magnitude = (Rational(value[0]) + Rational(k * k)) / Rational(value[1]);
    const bool negative = index >= kNumPositivePoints && (index + k) % 2 == 0;
    point.emplace(name, negative ? -magnitude : magnitude);
    ++k;
  }
  return point;
}

Rational Half(const Rational& value) {
  return value / Rational(2);
}

}  // namespace

bool Scalars::IsScalar(NodeId id) const {
  switch (tree_[id].op) {
    case Op::kTuple:
    case Op::kSet:
    case Op::kList:
    case Op::kMatrix:
    case Op::kRatio:
    case Op::kRelation:
    case Op::kUnion:
    case Op::kIntersection:
    case Op::kSetMinus:
    case Op::kEmptySet:
    case Op::kNumberSet:
    case Op::kText:
    case Op::kPlusMinus:
      return false;
    default:
      return std::all_of(tree_[id].kids.begin(), tree_[id].kids.end(), [&](NodeId kid) { return IsScalar(kid); });
  }
}

std::set<std::string> Scalars::Names(NodeId id) const {
  if (tree_[id].op == Op::kSymbol) return {tree_[id].text};
  std::set<std::string> names;
  for (const NodeId kid : tree_[id].kids) names.merge(Names(kid));
  return names;
}

bool Scalars::HoldsOp(NodeId id, Op op) const {
  const Node& node = tree_[id];
  return node.op == op || std::any_of(node.kids.begin(), node.kids.end(), [&](NodeId kid) { return HoldsOp(kid, op); });
}

bool Scalars::HoldsBareLog(NodeId id) const {
  const Node& node = tree_[id];
  if (node.op == Op::kFunction && node.text == "log" && node.kids.size() == 1) return true;
  return std::any_of(node.kids.begin(), node.kids.end(), [&](NodeId kid) { return HoldsBareLog(kid); });
}

Decision Scalars::Compare(NodeId a, NodeId b) {
  if (tree_.SameForm(a, b)) return Decision::Equal("same form");
  bool decided = false;
  const Decision rational = CompareRational(a, b, &decided);
  if (decided) return rational;
  if (tree_[a].op == Op::kInfinity || tree_[b].op == Op::kInfinity || HoldsOp(a, Op::kInfinity) ||
      HoldsOp(b, Op::kInfinity)) {
    const std::optional<int> sign_a = Sign(a), sign_b = Sign(b);
    const bool both = HoldsOp(a, Op::kInfinity) && HoldsOp(b, Op::kInfinity);
    if (!both) return Decision::Different("infinity is no number");
    if (!sign_a.has_value() || !sign_b.has_value()) return Decision::Undecided("infinity in an expression");
    return *sign_a == *sign_b ? Decision::Equal("infinity") : Decision::Different("infinity");
  }
  // A decimal and a value that it may approximate.
  const bool a_decimal = DecimalOf(tree_, a).has_value(), b_decimal = DecimalOf(tree_, b).has_value();
  if (a_decimal != b_decimal) {
    const std::optional<bool> shown = a_decimal ? Approximates(a, b, min_digits_) : Approximates(b, a, min_digits_);
    if (shown.value_or(false)) return Decision::Equal("all digits of the decimal are right");
  }
  if (!HoldsBareLog(a) && !HoldsBareLog(b)) return CompareValues(a, b, /*natural_log=*/false);
  // A logarithm without a base is the decimal or the natural one, on both sides the same.
  const Decision decimal = CompareValues(a, b, /*natural_log=*/false);
  if (decimal.verdict == Verdict::kEqual) return decimal;
  const Decision natural = CompareValues(a, b, /*natural_log=*/true);
  return natural.verdict == Verdict::kDifferent ? decimal : natural;
}

Decision Scalars::CompareRational(NodeId a, NodeId b, bool* decided) {
  const Exact x = EvaluateExactly(tree_, a, &work_), y = EvaluateExactly(tree_, b, &work_);
  *decided = true;
  if (x.kind == Exact::kUndefined || y.kind == Exact::kUndefined) return Decision::Undecided("a division by zero");
  *decided = x.ok() && y.ok();
  if (!*decided) return {};
  if (x.value == y.value) return Decision::Equal("exact rational arithmetic");
  const std::optional<Decimal> dx = DecimalOf(tree_, a), dy = DecimalOf(tree_, b);
  if (dx.has_value() == dy.has_value()) return Decision::Different("exact rational arithmetic");
  const Decimal& decimal = dx.has_value() ? *dx : *dy;
  const Rational& exact = dx.has_value() ? y.value : x.value;
  const Rational excess = exact.Abs() - decimal.value.Abs();
  const bool shown = decimal.num_significant_digits >= min_digits_ && decimal.value.Sign() == exact.Sign() &&
                     excess < decimal.last_digit && !(excess < -Half(decimal.last_digit));
  return shown ? Decision::Equal("all digits of the decimal are right")
               : Decision::Different("exact rational arithmetic");
}

bool Scalars::ShowsDigitsOf(NodeId decimal, NodeId exact) {
  return Approximates(decimal, exact, /*min_digits=*/1).value_or(false);
}

// Cut off or rounded behind its last digit. Absent when `exact` has no real value that is known well enough.
std::optional<bool> Scalars::Approximates(NodeId decimal_id, NodeId exact_id, int64_t min_digits) {
  const std::optional<Decimal> decimal = DecimalOf(tree_, decimal_id);
  if (!decimal.has_value() || decimal->num_significant_digits < min_digits) return false;
  if (!Names(exact_id).empty()) return std::nullopt;
  const Ball value = EvaluateBall(tree_, exact_id, {}, /*natural_log=*/false, kApproximationPrecision, &work_);
  if (!value.IsFinite() || !value.MayBeReal()) return std::nullopt;
  // excess = |exact| - |decimal|, for equal signs, in units of the last digit; it lies in [-1/2, 1).
  Ball excess;
  arb_set_fmpq(excess.real(), decimal->value.get(), kApproximationPrecision);
  if (arb_sgn_nonzero(value.real()) != decimal->value.Sign()) return false;
  arb_sub(excess.real(), value.real(), excess.real(), kApproximationPrecision);
  if (decimal->value.Sign() < 0) arb_neg(excess.real(), excess.real());
  Ball unit;
  arb_set_fmpq(unit.real(), decimal->last_digit.get(), kApproximationPrecision);
  arb_div(excess.real(), excess.real(), unit.real(), kApproximationPrecision);
  Ball bound;
  arb_set_si(bound.real(), 1);
  const bool below = arb_lt(excess.real(), bound.real());
  arb_set_d(bound.real(), -0.5);
  return below && arb_gt(excess.real(), bound.real());
}

Decision Scalars::CompareValues(NodeId a, NodeId b, bool natural_log) {
  std::set<std::string> names = Names(a);
  names.merge(Names(b));
  return names.empty() ? CompareClosed(a, b, natural_log) : CompareOpen(a, b, names, natural_log);
}

Decision Scalars::CompareClosed(NodeId a, NodeId b, bool natural_log) {
  bool is_first = true;
  for (const int64_t precision : kPrecisions) {
    const Ball x = EvaluateBall(tree_, a, {}, natural_log, precision, &work_);
    const Ball y = EvaluateBall(tree_, b, {}, natural_log, precision, &work_);
    const bool are_known = x.IsFinite() && y.IsFinite();
    if (are_known && !acb_overlaps(x.get(), y.get())) return Decision::Different("values as balls, which do not meet");
    if (std::exchange(is_first, false)) {
      const Verdict verdict = ComparePowerSums(tree_, a, b, &work_);
      if (verdict == Verdict::kEqual) return Decision::Equal("sums of powers");
      if (verdict == Verdict::kDifferent) return Decision::Different("sums of powers");
    }
    if (!are_known) return Decision::Undecided("a value that is not known");
  }
  const NodeId difference = tree_.Add(Op::kAdd, {a, tree_.Add(Op::kNeg, {b})});
  switch (IsZero(tree_, difference, natural_log, &work_)) {
    case Verdict::kEqual:
      return Decision::Equal("exact constants");
    case Verdict::kDifferent:
      return Decision::Different("exact constants");
    default:
      return Decision::Undecided("values that agree, without a proof");
  }
}

Decision Scalars::CompareOpen(NodeId a, NodeId b, const std::set<std::string>& names, bool natural_log) {
  Algebra algebra(&tree_, natural_log, &work_);
  const std::optional<std::pair<Fraction, Fraction>> normal = algebra.Normalize(a, b);
  FractionArithmetic arithmetic(&work_);
  const std::optional<Fraction> difference =
      normal.has_value() ? arithmetic.Add(normal->first, normal->second.Negated()) : std::nullopt;
  if (difference.has_value() && algebra.IsPure()) {
    return difference->IsZero() ? Decision::Equal("normal form of rational functions")
                                : Decision::Different("normal form of rational functions");
  }
  const bool may_be_complex = HoldsOp(a, Op::kI) || HoldsOp(b, Op::kI);
  int num_agreeing = 0;
  for (int index = 0; index < kNumPoints; ++index) {
    const Point point = PointFor(names, index);
    const Ball at_a = EvaluateBall(tree_, a, point, natural_log, kPrecisions[0], &work_);
    const Ball at_b = EvaluateBall(tree_, b, point, natural_log, kPrecisions[0], &work_);
    if (!at_a.IsFinite() || !at_b.IsFinite()) continue;
    if (!may_be_complex && !(at_a.MayBeReal() && at_b.MayBeReal())) continue;
    if (!acb_overlaps(at_a.get(), at_b.get()))
      return Decision::Different("values at a point, as balls, which do not meet");
    ++num_agreeing;
  }
  if (!difference.has_value()) return Decision::Undecided("functions without a normal form");
  const Verdict verdict = algebra.IsZero(*difference);
  if (verdict == Verdict::kDifferent) return Decision::Different("normal form of functions");
  const bool agrees = num_agreeing >= 2 || !HasValues(a) || !HasValues(b);
  if (verdict == Verdict::kEqual && agrees) return Decision::Equal("normal form of functions");
  return Decision::Undecided("functions without a proof");
}

// Whether values can be computed: unknown functions have none.
bool Scalars::HasValues(NodeId id) const {
  const Node& node = tree_[id];
  if (node.op == Op::kFunction) {
    bool is_known = false;
    for (const char* name : {"sin", "cos", "tan", "cot", "sec", "csc", "asin", "acos", "atan", "sinh", "cosh", "tanh",
                             "log", "abs", "factorial", "binom"}) {
      is_known |= node.text == name;
    }
    if (!is_known) return false;
  }
  return std::all_of(node.kids.begin(), node.kids.end(), [&](NodeId kid) { return HasValues(kid); });
}

std::optional<Rational> Scalars::RationalDifference(NodeId a, NodeId b) {
  const Exact x = EvaluateExactly(tree_, a, &work_), y = EvaluateExactly(tree_, b, &work_);
  if (x.ok() && y.ok()) return x.value - y.value;
  if (!IsScalar(a) || !IsScalar(b)) return std::nullopt;
  Algebra algebra(&tree_, /*natural_log=*/false, &work_);
  const std::optional<std::pair<Fraction, Fraction>> normal = algebra.Normalize(a, b);
  if (!normal.has_value()) return std::nullopt;
  const std::optional<Fraction> difference = FractionArithmetic(&work_).Add(normal->first, normal->second.Negated());
  if (!difference.has_value() || !difference->IsConstant() || !algebra.IsPure()) return std::nullopt;
  return difference->Constant();
}

Decision Scalars::CompareEquations(NodeId a, NodeId b) {
  Algebra algebra(&tree_, /*natural_log=*/false, &work_);
  const std::optional<std::pair<Fraction, Fraction>> normal = algebra.Normalize(a, b);
  if (!normal.has_value()) return Decision::Undecided("equations without a normal form");
  switch (algebra.AreProportional(normal->first, normal->second)) {
    case Verdict::kEqual:
      return Decision::Equal("one equation is a multiple of the other");
    case Verdict::kDifferent:
      return algebra.IsFree() ? Decision::Different("no equation is a multiple of the other")
                              : Decision::Undecided("equations without a proof");
    default:
      return Decision::Undecided("equations without a proof");
  }
}

std::optional<bool> Scalars::HaveSameSign(NodeId a, NodeId b) {
  std::set<std::string> names = Names(a);
  names.merge(Names(b));
  for (int index = 0; index < kNumPoints; ++index) {
    const Point point = PointFor(names, index);
    const Ball x = EvaluateBall(tree_, a, point, /*natural_log=*/false, kPrecisions[0], &work_);
    const Ball y = EvaluateBall(tree_, b, point, /*natural_log=*/false, kPrecisions[0], &work_);
    if (!x.IsFinite() || !y.IsFinite() || !x.MayBeReal() || !y.MayBeReal()) continue;
    const int sign_x = arb_sgn_nonzero(x.real()), sign_y = arb_sgn_nonzero(y.real());
    if (sign_x != 0 && sign_y != 0) return sign_x == sign_y;
  }
  return std::nullopt;
}

std::optional<int> Scalars::Sign(NodeId id) {
  const Node& node = tree_[id];
  if (node.op == Op::kInfinity) return 1;
  if (node.op == Op::kNeg) {
    const std::optional<int> sign = Sign(node.kids[0]);
    return sign.has_value() ? std::optional<int>(-*sign) : sign;
  }
  const Exact exact = EvaluateExactly(tree_, id, &work_);
  if (exact.ok()) return exact.value.Sign();
  if (!Names(id).empty()) return std::nullopt;
  for (const int64_t precision : kPrecisions) {
    const Ball value = EvaluateBall(tree_, id, {}, /*natural_log=*/false, precision, &work_);
    if (!value.IsFinite() || !value.MayBeReal()) return std::nullopt;
    const int sign = arb_sgn_nonzero(value.real());
    if (sign != 0) return sign;
  }
  if (IsZero(tree_, id, /*natural_log=*/false, &work_) == Verdict::kEqual) return 0;
  return std::nullopt;
}

}  // namespace grpo::math
