// Roots, powers, logarithms, trigonometric functions and factorials as generators.

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "reward/math/algebra.h"
#include "reward/math/ball.h"
#include "reward/math/exact.h"
#include "reward/math/power_sum.h"

namespace grpo::math {
namespace {

// Beyond it a polynomial is not factored: that is the dearest of all calls.
constexpr int64_t kMaxFactorTerms = 16, kMaxFactorDegree = 12;
// Of a generator: exponents in units of it, indices of roots, bits of a unit.
constexpr int64_t kMaxPower = 240, kMaxIndex = 240, kMaxUnitBits = 64;

Rational RationalOf(const fmpz_t numerator) {
  fmpq_t value;
  fmpq_init(value);
  fmpz_set(fmpq_numref(value), numerator);
  const Rational result(value);
  fmpq_clear(value);
  return result;
}

Rational Gcd(const Rational& a, const Rational& b) {
  fmpq_t common;
  fmpq_init(common);
  fmpq_gcd(common, a.get(), b.get());
  const Rational result(common);
  fmpq_clear(common);
  return result;
}

// The rational number that is taken out of a fraction, so that multiples of one have the same rest.
Rational ContentOf(const Fraction& value) {
  Rational contents[2];
  for (const bool is_numerator : {true, false}) {
    const fmpz_mpoly_struct* polynomial = is_numerator ? value.numerator() : value.denominator();
    fmpz_t coefficient;
    fmpz_init(coefficient);
    for (int64_t k = fmpz_mpoly_length(polynomial, FractionRing()) - 1; k >= 0; --k) {
      fmpz_mpoly_get_term_coeff_fmpz(coefficient, polynomial, k, FractionRing());
      contents[is_numerator] = Gcd(contents[is_numerator], RationalOf(coefficient));
      if (k == 0 && fmpz_sgn(coefficient) < 0) contents[is_numerator] = -contents[is_numerator];
    }
    fmpz_clear(coefficient);
  }
  return contents[1] / contents[0];
}

bool MayFactor(const fmpz_mpoly_struct* polynomial) {
  fmpz_t degree;
  fmpz_init(degree);
  fmpz_mpoly_total_degree_fmpz(degree, polynomial, FractionRing());
  const bool may = fmpz_mpoly_length(polynomial, FractionRing()) <= kMaxFactorTerms &&
                   fmpz_cmp_si(degree, kMaxFactorDegree) <= 0 && std::abs(fmpz_mpoly_max_bits(polynomial)) <= 128;
  fmpz_clear(degree);
  return may;
}

}  // namespace

std::optional<Algebra::Factors> Algebra::Factorize(const Fraction& value) {
  Factors result;
  if (value.IsZero()) return std::nullopt;
  for (const bool is_numerator : {true, false}) {
    const fmpz_mpoly_struct* polynomial = is_numerator ? value.numerator() : value.denominator();
    if (!MayFactor(polynomial) || !work_.Spend(300)) return std::nullopt;
    fmpz_mpoly_factor_t factors;
    fmpz_mpoly_factor_init(factors, FractionRing());
    const bool done = fmpz_mpoly_factor(factors, polynomial, FractionRing());
    const Rational constant = RationalOf(factors->constant);
    result.constant = is_numerator ? constant : result.constant / constant;
    for (slong i = 0; done && i < factors->num; ++i) {
      const int64_t exponent = fmpz_get_si(factors->exp + i);
      result.factors.push_back({Fraction::FromPolynomial(factors->poly + i), is_numerator ? exponent : -exponent});
    }
    fmpz_mpoly_factor_clear(factors, FractionRing());
    if (!done) return std::nullopt;
  }
  return result;
}

Algebra::Result Algebra::Root(const Fraction& radicand, int64_t index) {
  return RationalPower(radicand, Rational(1) / Rational(index));
}

Algebra::Result Algebra::RationalPower(const Fraction& base, const Rational& exponent) {
  fmpq_t denominator;
  fmpq_init(denominator);
  fmpz_set(fmpq_numref(denominator), fmpq_denref(exponent.get()));
  const Rational denominator_value(denominator);
  fmpq_clear(denominator);
  const std::optional<int64_t> index = denominator_value.ToInt64(), power = (exponent * denominator_value).ToInt64();
  if (!index.has_value() || !power.has_value() || *index > kMaxIndex || std::abs(*power) > kMaxIndex)
    return std::nullopt;
  if (base.IsZero()) return *power > 0 ? Result(base) : std::nullopt;
  const std::optional<Factors> factors = Factorize(base);
  if (!factors.has_value()) return std::nullopt;
  Result result = Fraction(Rational(1));
  if (!(factors->constant == Rational(1))) {
    const NodeId constant = tree_.Add(Op::kRoot, {tree_.Number(factors->constant), tree_.Number(*index)});
    const Result root = *index == 1 ? Fraction(factors->constant) : ConstantFor(constant);
    result = root.has_value() ? arithmetic_.Power(*root, *power) : root;
  }
  for (const Factor& factor : factors->factors) {
    if (!result.has_value()) return result;
    // An even root of an even power is one of the absolute value.
    const bool is_absolute = *index % 2 == 0 && factor.exponent % 2 == 0;
    const Generator* root = RootOf(factor.base);
    Result power_of_factor;
    if (root != nullptr && (!is_absolute || root->index % 2 == 0)) {
      // A root of a root; the copy outlives new generators.
      const Fraction radicand = root->base;
      power_of_factor = RootPower(radicand, factor.exponent * *power, root->index * *index);
    } else {
      const Result positive = is_absolute ? Absolute(factor.base) : factor.base;
      if (positive.has_value()) power_of_factor = RootPower(*positive, factor.exponent * *power, *index);
    }
    result = power_of_factor.has_value() ? arithmetic_.Multiply(*result, *power_of_factor) : power_of_factor;
  }
  return result;
}

Algebra::Result Algebra::RootPower(const Fraction& base, int64_t power, int64_t index) {
  const int64_t common = std::gcd(power, index);
  power /= common;
  index /= common;
  if (index == 1) return arithmetic_.Power(base, power);
  if (index > kMaxIndex) return std::nullopt;
  const std::optional<int> at =
      IndexFor({.key = absl::StrCat("root ", base.ToString()), .kind = Kind::kRoot, .base = base, .index = index});
  if (!at.has_value()) return std::nullopt;
  int64_t& fine_index = generators_[*at].index;
  if (fine_index % index != 0) {
    is_stale_ = true;
    fine_index = std::lcm(fine_index, index);
    if (fine_index > kMaxIndex) return std::nullopt;
  }
  const Result outside = arithmetic_.Power(base, power / index);
  const Result inside = arithmetic_.Power(Fraction::Generator(*at), power % index * (fine_index / index));
  return outside.has_value() && inside.has_value() ? arithmetic_.Multiply(*outside, *inside) : Result();
}

const Algebra::Generator* Algebra::RootOf(const Fraction& value) const {
  for (size_t g = 0; g < generators_.size(); ++g) {
    if (generators_[g].kind != Kind::kRoot || generators_[g].key.rfind("root ", 0) != 0) continue;
    if (Fraction::Generator(static_cast<int>(g)).ToString() == value.ToString()) return &generators_[g];
  }
  return nullptr;
}

// The sign of a product of constants, seen in its value.
std::optional<int> Algebra::SignOf(const Fraction& polynomial) {
  if (fmpz_mpoly_length(polynomial.numerator(), FractionRing()) != 1) return std::nullopt;
  const std::optional<NodeId> closed = ClosedMonomial(polynomial.numerator(), 0);
  if (!closed.has_value()) return std::nullopt;
  const Ball value = EvaluateBall(tree_, *closed, {}, natural_log_, /*precision=*/64, &work_);
  if (!value.IsFinite() || !acb_is_real(value.get()) || arb_contains_zero(value.real())) return std::nullopt;
  return arb_sgn_nonzero(value.real());
}

Algebra::Result Algebra::Absolute(const Fraction& value) {
  if (value.IsZero()) return value;
  const std::optional<Factors> factors = Factorize(value);
  if (!factors.has_value()) return std::nullopt;
  Result result = Fraction(factors->constant.Abs());
  for (const Factor& factor : factors->factors) {
    if (const std::optional<int> sign = SignOf(factor.base); sign.has_value()) {
      const Result power = arithmetic_.Power(*sign < 0 ? factor.base.Negated() : factor.base, factor.exponent);
      result = power.has_value() ? arithmetic_.Multiply(*result, *power) : power;
      if (!result.has_value()) return result;
      continue;
    }
    const Generator* root = RootOf(factor.base);
    if (root != nullptr && root->index % 2 == 0) {
      const Result power = arithmetic_.Power(factor.base, factor.exponent);
      result = power.has_value() ? arithmetic_.Multiply(*result, *power) : power;
      if (!result.has_value()) return result;
      continue;
    }
    const Result square = arithmetic_.Multiply(factor.base, factor.base);
    if (!square.has_value()) return square;
    const Result absolute = GeneratorFor(
        {.key = absl::StrCat("abs ", factor.base.ToString()), .kind = Kind::kRoot, .base = *square, .index = 2});
    const Result power = absolute.has_value() ? arithmetic_.Power(*absolute, factor.exponent) : absolute;
    result = power.has_value() && result.has_value() ? arithmetic_.Multiply(*result, *power) : Result();
    if (!result.has_value()) return result;
  }
  return result;
}

Algebra::Result Algebra::Logarithm(const Fraction& argument) {
  const std::optional<Factors> factors = Factorize(argument);
  if (!factors.has_value()) return std::nullopt;
  Result result = Fraction();
  if (!(factors->constant == Rational(1))) {
    result = ConstantFor(tree_.Function("log", {tree_.Number(factors->constant), tree_.Add(Op::kE, {})}));
  }
  for (const Factor& factor : factors->factors) {
    if (!result.has_value()) return result;
    Result logarithm;
    // The logarithm of an exponential is its exponent, that of a constant is one.
    const auto generator = std::find_if(generators_.begin(), generators_.end(), [&](const Generator& candidate) {
      return Fraction::Generator(static_cast<int>(&candidate - generators_.data())).ToString() ==
             factor.base.ToString();
    });
    if (generator != generators_.end() && generator->kind == Kind::kExponential &&
        generator->key.rfind("exp e ", 0) == 0) {
      logarithm = arithmetic_.Multiply(generator->base, Fraction(generator->unit));
    } else if (generator != generators_.end() && generator->kind == Kind::kConstant) {
      logarithm = ConstantFor(tree_.Function("log", {generator->node, tree_.Add(Op::kE, {})}));
    } else {
      logarithm = GeneratorFor(
          {.key = absl::StrCat("log ", factor.base.ToString()), .kind = Kind::kLogarithm, .base = factor.base});
    }
    const Result term =
        logarithm.has_value() ? arithmetic_.Multiply(*logarithm, Fraction(Rational(factor.exponent))) : logarithm;
    result = term.has_value() ? arithmetic_.Add(*result, *term) : term;
  }
  return result;
}

Algebra::Result Algebra::Factorial(const Fraction& argument) {
  // The integer that is added in it, taken out: (n + 2)! = (n + 2)(n + 1) n!.
  int64_t shift = 0;
  if (fmpz_mpoly_is_one(argument.denominator(), FractionRing())) {
    fmpz_t constant;
    fmpz_init(constant);
    std::vector<ulong> zeros(kNumGenerators);
    fmpz_mpoly_get_coeff_fmpz_ui(constant, argument.numerator(), zeros.data(), FractionRing());
    if (fmpz_bits(constant) <= 4) shift = fmpz_get_si(constant);
    fmpz_clear(constant);
  }
  const Result rest = arithmetic_.Add(argument, Fraction(Rational(-shift)));
  if (!rest.has_value()) return rest;
  Result result = GeneratorFor({.key = absl::StrCat("factorial ", rest->ToString()), .kind = Kind::kOpaque});
  for (int64_t k = shift; k != 0 && result.has_value(); k += k > 0 ? -1 : 1) {
    // Upwards times (rest + k); downwards divided by (rest + k + 1).
    const Result factor = arithmetic_.Add(*rest, Fraction(Rational(k > 0 ? k : k + 1)));
    if (!factor.has_value()) return factor;
    result = k > 0 ? arithmetic_.Multiply(*result, *factor) : arithmetic_.Divide(*result, *factor);
  }
  return result;
}

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
      const Result power = power_of(tree_.Number(RationalOf(primes->p + i)));
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
    unit = Gcd(unit, factor);
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
    const Rational value = RationalOf(coefficient);
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
