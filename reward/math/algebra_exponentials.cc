// Exponentials and trigonometric functions as generators.
#include <algorithm>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "reward/math/algebra.h"
#include "reward/math/exact.h"
#include "reward/math/power_sum.h"

namespace grpo::math {
namespace {

// Of an exponent in units of its generator, and bits of a unit.
constexpr int64_t kMaxPower = 240, kMaxUnitBits = 64;

// The rational number that is taken out of a fraction, so that multiples of one have the same rest.
Rational ContentOf(const Fraction& value) {
  Rational contents[2];
  for (const bool is_numerator : {true, false}) {
    const fmpz_mpoly_struct* polynomial = is_numerator ? value.numerator() : value.denominator();
    fmpz_t coefficient;
    fmpz_init(coefficient);
    for (int64_t k = fmpz_mpoly_length(polynomial, FractionRing()) - 1; k >= 0; --k) {
      fmpz_mpoly_get_term_coeff_fmpz(coefficient, polynomial, k, FractionRing());
      contents[is_numerator] = Rational::Gcd(contents[is_numerator], Rational::FromInteger(coefficient));
      if (k == 0 && fmpz_sgn(coefficient) < 0) contents[is_numerator] = -contents[is_numerator];
    }
    fmpz_clear(coefficient);
  }
  return contents[1] / contents[0];
}

}  // namespace

Algebra::Result Algebra::Trigonometric(const std::string& name, const Fraction& angle) {
  const NodeId i_node = tree_.Add(Op::kI, {}), e_node = tree_.Add(Op::kE, {});
  const Result i = ConstantFor(i_node);
  const Result up = Exponential("exp i", angle, [&](const Rational& factor, NodeId closed) {
    const NodeId exponent = tree_.Add(Op::kMul, {tree_.Number(factor), i_node, closed});
    return ConstantFor(tree_.Add(Op::kPow, {e_node, exponent}));
  });
  if (!up.has_value() || !i.has_value()) return std::nullopt;
  const Result down = arithmetic_.Divide(Fraction(Rational(1)), *up);
  if (!down.has_value()) return down;
  const Result sum = arithmetic_.Add(*up, *down), difference = arithmetic_.Add(*up, down->Negated());
  if (!sum.has_value() || !difference.has_value()) return std::nullopt;
  const Result two_i = arithmetic_.Multiply(*i, Fraction(Rational(2)));
  const Result sine = arithmetic_.Divide(*difference, *two_i), cosine = arithmetic_.Divide(*sum, Fraction(Rational(2)));
  if (!sine.has_value() || !cosine.has_value()) return std::nullopt;
  const Fraction one{Rational(1)};
  if (name == "sin") return sine;
  if (name == "cos") return cosine;
  if (name == "tan") return arithmetic_.Divide(*sine, *cosine);
  if (name == "cot") return arithmetic_.Divide(*cosine, *sine);
  return arithmetic_.Divide(one, name == "sec" ? *cosine : *sine);
}

Algebra::Result Algebra::Hyperbolic(const std::string& name, const Fraction& argument) {
  const Result up = ClosedPower(tree_.Add(Op::kE, {}), argument);
  const Result down = up.has_value() ? arithmetic_.Divide(Fraction(Rational(1)), *up) : up;
  if (!down.has_value()) return down;
  const Result sum = arithmetic_.Add(*up, *down), difference = arithmetic_.Add(*up, down->Negated());
  if (!sum.has_value() || !difference.has_value()) return std::nullopt;
  if (name == "tanh") return arithmetic_.Divide(*difference, *sum);
  return arithmetic_.Divide(name == "sinh" ? *difference : *sum, Fraction(Rational(2)));
}

Algebra::Result Algebra::ClosedPower(NodeId base, const Fraction& exponent) {
  const Exact exact = EvaluateExactly(tree_, base, &work_);
  const auto power_of = [&](NodeId prime) {
    return Exponential(
        absl::StrCat("exp ", tree_.ToString(prime)), exponent, [&, prime](const Rational& factor, NodeId closed) {
          return ConstantFor(tree_.Add(Op::kPow, {prime, tree_.Add(Op::kMul, {tree_.Number(factor), closed})}));
        });
  };
  if (!exact.ok() || exact.value.Sign() <= 0 || exact.value.Bits() > 40) return power_of(base);
  Result result = Fraction(Rational(1));
  for (const bool is_numerator : {true, false}) {
    fmpz_factor_t primes;
    fmpz_factor_init(primes);
    const fmpz* part = is_numerator ? fmpq_numref(exact.value.get()) : fmpq_denref(exact.value.get());
    if (work_.Spend(50)) fmpz_factor(primes, part);
    for (slong i = 0; i < primes->num && result.has_value(); ++i) {
      const Result power = power_of(tree_.Number(Rational::FromInteger(primes->p + i)));
      const int64_t times = is_numerator ? static_cast<int64_t>(primes->exp[i]) : -static_cast<int64_t>(primes->exp[i]);
      const Result all = power.has_value() ? arithmetic_.Power(*power, times) : power;
      result = all.has_value() ? arithmetic_.Multiply(*result, *all) : all;
    }
    fmpz_factor_clear(primes);
  }
  return result;
}

Algebra::Result Algebra::SymbolicPower(const Fraction& base, const Fraction& exponent) {
  const std::optional<Factors> factors = Factorize(base);
  if (!factors.has_value()) return std::nullopt;
  Result result = Fraction(Rational(1));
  if (!(factors->constant == Rational(1))) result = ClosedPower(tree_.Number(factors->constant), exponent);
  for (const Factor& factor : factors->factors) {
    if (!result.has_value()) return result;
    const Result power =
        Exponential(absl::StrCat("pow ", factor.base.ToString()), exponent, [&](const Rational& r, NodeId closed) {
          const Exact value = EvaluateExactly(tree_, closed, &work_);
          return value.ok() ? RationalPower(factor.base, r * value.value) : Result();
        });
    const Result all = power.has_value() ? arithmetic_.Power(*power, factor.exponent) : power;
    result = all.has_value() ? arithmetic_.Multiply(*result, *all) : all;
  }
  return result;
}

Algebra::Result Algebra::Exponential(const std::string& key, const Fraction& exponent,
                                     const ConstantPower& constant_power) {
  Fraction denominator = Fraction::FromPolynomial(exponent.denominator());
  if (fmpz_mpoly_length(exponent.denominator(), FractionRing()) != 1) {
    // A quotient is one term, without its content.
    const Rational content = ContentOf(exponent);
    const Result monomial = arithmetic_.Divide(exponent, Fraction(content));
    return monomial.has_value() ? ExponentialPower(key, *monomial, content) : monomial;
  }
  const Result numerator = Reduce(Fraction::FromPolynomial(exponent.numerator()));
  if (!numerator.has_value()) return numerator;
  Result result = Fraction(Rational(1));
  const int64_t num_terms = fmpz_mpoly_length(numerator->numerator(), FractionRing());
  for (int64_t k = 0; k < num_terms && result.has_value(); ++k) {
    fmpz_mpoly_t part;
    fmpz_mpoly_init(part, FractionRing());
    fmpz_mpoly_get_term(part, numerator->numerator(), k, FractionRing());
    const Result whole =
        arithmetic_.Divide(Fraction::FromPolynomial(part), Fraction::FromPolynomial(numerator->denominator()));
    fmpz_mpoly_clear(part, FractionRing());
    const Result term = whole.has_value() ? arithmetic_.Divide(*whole, denominator) : whole;
    const Result power = term.has_value() ? ExponentialOfTerm(key, *term, constant_power) : term;
    result = power.has_value() ? arithmetic_.Multiply(*result, *power) : power;
  }
  return result;
}

Algebra::Result Algebra::ExponentialOfTerm(const std::string& key, const Fraction& term,
                                           const ConstantPower& constant_power) {
  const std::optional<Term> split = Split(term);
  if (!split.has_value()) return std::nullopt;
  if (split->rest.IsConstant()) return constant_power(split->coefficient, split->constants);
  const Result constants = ConstantsFor(split->constants);
  const Result monomial = constants.has_value() ? arithmetic_.Multiply(split->rest, *constants) : constants;
  if (!monomial.has_value()) return monomial;
  const auto logarithm = std::find_if(generators_.begin(), generators_.end(), [&](const Generator& candidate) {
    return candidate.kind == Kind::kLogarithm &&
           Fraction::Generator(static_cast<int>(&candidate - generators_.data())).ToString() == monomial->ToString();
  });
  if (key == "exp e" && logarithm != generators_.end()) {
    // The copy outlives new generators.
    const Fraction base = logarithm->base;
    return RationalPower(base, split->coefficient);
  }
  return ExponentialPower(key, *monomial, split->coefficient);
}

Algebra::Result Algebra::ExponentialPower(const std::string& key, const Fraction& monomial, const Rational& factor) {
  const std::optional<int> at = IndexFor({.key = absl::StrCat(key, " ", monomial.ToString()),
                                          .kind = Kind::kExponential,
                                          .base = monomial,
                                          .unit = factor.Abs()});
  if (!at.has_value()) return std::nullopt;
  Rational& unit = generators_[*at].unit;
  if (!(factor / unit).IsInteger()) {
    is_stale_ = true;
    unit = Rational::Gcd(unit, factor);
  }
  const std::optional<int64_t> times = (factor / unit).ToInt64();
  if (!times.has_value() || std::abs(*times) > kMaxPower || unit.Bits() > kMaxUnitBits) return std::nullopt;
  return arithmetic_.Power(Fraction::Generator(*at), *times);
}

std::optional<Algebra::Term> Algebra::Split(const Fraction& term) {
  Term result{.coefficient = Rational(1), .constants = 0, .rest = Fraction(Rational(1))};
  std::vector<NodeId> constants = {tree_.Number(1)};
  for (const bool is_numerator : {true, false}) {
    const fmpz_mpoly_struct* monomial = is_numerator ? term.numerator() : term.denominator();
    fmpz_t coefficient;
    fmpz_init(coefficient);
    fmpz_mpoly_get_term_coeff_fmpz(coefficient, monomial, 0, FractionRing());
    const Rational value = Rational::FromInteger(coefficient);
    fmpz_clear(coefficient);
    result.coefficient = is_numerator ? value : result.coefficient / value;
    std::vector<ulong> exponents(kNumGenerators);
    fmpz_mpoly_get_term_exp_ui(exponents.data(), monomial, 0, FractionRing());
    for (size_t g = 0; g < generators_.size(); ++g) {
      const int64_t exponent = is_numerator ? static_cast<int64_t>(exponents[g]) : -static_cast<int64_t>(exponents[g]);
      if (exponent == 0) continue;
      if (generators_[g].kind == Kind::kConstant) {
        constants.push_back(tree_.Add(Op::kPow, {generators_[g].node, tree_.Number(exponent)}));
        continue;
      }
      const Result power = arithmetic_.Power(Fraction::Generator(static_cast<int>(g)), exponent);
      const Result rest = power.has_value() ? arithmetic_.Multiply(result.rest, *power) : power;
      if (!rest.has_value()) return std::nullopt;
      result.rest = *rest;
    }
  }
  result.constants = constants.size() == 1 ? constants[0] : tree_.Add(Op::kMul, std::move(constants));
  const std::optional<std::vector<PowerTerm>> terms = PowerTermsOf(&tree_, result.constants, &work_);
  if (terms.has_value() && terms->size() == 1) {
    result.coefficient = result.coefficient * (*terms)[0].coefficient;
    result.constants = (*terms)[0].powers;
  }
  return result;
}

std::optional<NodeId> Algebra::ClosedMonomial(const fmpz_mpoly_struct* polynomial, int64_t term) {
  std::vector<ulong> exponents(kNumGenerators);
  fmpz_mpoly_get_term_exp_ui(exponents.data(), polynomial, term, FractionRing());
  std::vector<NodeId> factors = {tree_.Number(1)};
  for (size_t g = 0; g < generators_.size(); ++g) {
    if (exponents[g] == 0) continue;
    if (generators_[g].kind != Kind::kConstant) return std::nullopt;
    factors.push_back(tree_.Add(Op::kPow, {generators_[g].node, tree_.Number(exponents[g])}));
  }
  return tree_.Add(Op::kMul, std::move(factors));
}

}  // namespace grpo::math
