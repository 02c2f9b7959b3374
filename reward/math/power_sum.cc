#include "reward/math/power_sum.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "reward/math/power_terms.h"

namespace grpo::math {
namespace {

// Whether a coefficient times powers is 1.
Verdict IsOne(Powers powers, Rational coefficient, PowerEvaluator* evaluator) {
  if (coefficient.Sign() < 0) return Verdict::kDifferent;
  const std::optional<Powers> factors = evaluator->Factor(coefficient);
  if (!factors.has_value()) return Verdict::kUndecided;
  for (const auto& [base, exponent] : *factors) powers[base] = powers[base] + exponent;
  Verdict verdict = Verdict::kEqual;
  bool are_primes = true;
  for (const auto& [base, exponent] : powers) {
    if (exponent.Sign() == 0) continue;
    verdict = Verdict::kDifferent;
    are_primes &= IsPrimeBase(base);
  }
  return verdict == Verdict::kDifferent && !are_primes ? Verdict::kUndecided : verdict;
}

// Roots of different products of primes, none of them rational, are linearly independent over the rational numbers and
// over Q(i) (A. Besicovitch, 1940).
bool AreIndependent(const PowerTerms& sum) {
  for (const auto& [powers, coefficient] : sum.terms) {
    for (const auto& [base, exponent] : powers) {
      if (base != "i" && !(IsPrimeBase(base) && exponent.Sign() > 0 && exponent < Rational(1))) return false;
    }
  }
  return true;
}

// An expression for powers; absent where a base is a sum.
std::optional<NodeId> NodeFor(const Powers& powers, Tree* tree) {
  std::vector<NodeId> factors;
  // One root for all that fit in one.
  int64_t index = 1;
  Rational radicand(1);
  for (const auto& [base, exponent] : powers) {
    const std::optional<int64_t> denominator = exponent.Denominator().ToInt64();
    if (ValueOfBase(base).has_value() && denominator.has_value() && *denominator <= 1000 && index <= 1000)
      index = std::lcm(index, *denominator);
  }
  for (const auto& [base, exponent] : powers) {
    if (base[0] == '(') return std::nullopt;
    const std::optional<Rational> value = ValueOfBase(base);
    const std::optional<int64_t> times = (exponent * Rational(index)).ToInt64();
    if (value.has_value() && times.has_value() && *times > 0 && *times < index &&
        radicand.Bits() + value->Bits() * *times <= 160) {
      radicand = radicand * value->Pow(*times);
      continue;
    }
    const NodeId node = value.has_value() ? tree->Number(*value)
                        : base == "pi"    ? tree->Add(Op::kPi, {})
                        : base == "e"     ? tree->Add(Op::kE, {})
                                          : tree->Add(Op::kI, {});
    factors.push_back(exponent == Rational(1) ? node : tree->Add(Op::kPow, {node, tree->Number(exponent)}));
  }
  if (!(radicand == Rational(1)))
    factors.push_back(tree->Add(Op::kRoot, {tree->Number(radicand), tree->Number(index)}));
  if (factors.empty()) return tree->Number(1);
  return factors.size() == 1 ? factors[0] : tree->Add(Op::kMul, std::move(factors));
}

}  // namespace

std::optional<std::vector<PowerTerm>> PowerTermsOf(Tree* tree, NodeId id, Work* work) {
  PowerEvaluator evaluator(*tree, work);
  const std::optional<PowerQuotient> value = evaluator.Evaluate(id);
  if (!value.has_value() || !value->denominator.IsOne()) return std::nullopt;
  std::vector<PowerTerm> terms;
  for (const auto& [powers, coefficient] : value->numerator.terms) {
    const std::optional<NodeId> node = NodeFor(powers, tree);
    if (!node.has_value()) return std::nullopt;
    terms.push_back({coefficient, *node});
  }
  return terms;
}

Verdict ComparePowerSums(const Tree& tree, NodeId a, NodeId b, Work* work) {
  PowerEvaluator evaluator(tree, work);
  const std::optional<PowerQuotient> x = evaluator.Evaluate(a);
  const std::optional<PowerQuotient> y = x.has_value() ? evaluator.Evaluate(b) : std::nullopt;
  if (!y.has_value()) return Verdict::kUndecided;
  const std::optional<PowerTerms> left = evaluator.Multiply(x->numerator, y->denominator),
                                  right = evaluator.Multiply(y->numerator, x->denominator);
  if (!left.has_value() || !right.has_value()) return Verdict::kUndecided;
  if (left->IsZero() || right->IsZero()) {
    if (left->IsZero() && right->IsZero()) return Verdict::kEqual;
    // One term is never zero.
    const PowerTerms& other = left->IsZero() ? *right : *left;
    return other.IsSingle() || AreIndependent(other) ? Verdict::kDifferent : Verdict::kUndecided;
  }
  if (left->IsSingle() && right->IsSingle()) {
    Powers quotient = left->terms.begin()->first;
    for (const auto& [base, exponent] : right->terms.begin()->first) quotient[base] = quotient[base] - exponent;
    const Verdict verdict =
        IsOne(std::move(quotient), left->terms.begin()->second / right->terms.begin()->second, &evaluator);
    if (verdict != Verdict::kUndecided) return verdict;
  }
  PowerTerms difference = *left;
  for (const auto& [powers, coefficient] : right->terms) difference.Add(powers, -coefficient);
  if (difference.IsZero()) return Verdict::kEqual;
  // In units of its first term, so that powers too large to write out come near each other.
  Powers inverse;
  for (const auto& [base, exponent] : difference.terms.begin()->first) inverse[base] = -exponent;
  PowerTerms unit;
  unit.Add(inverse, Rational(1));
  const std::optional<PowerTerms> scaled = evaluator.Multiply(difference, unit);
  if (!scaled.has_value()) return Verdict::kUndecided;
  if (scaled->IsZero()) return Verdict::kEqual;
  return scaled->IsSingle() || AreIndependent(*scaled) ? Verdict::kDifferent : Verdict::kUndecided;
}

}  // namespace grpo::math
