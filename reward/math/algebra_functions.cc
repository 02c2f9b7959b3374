// Roots, absolute values, logarithms and factorials as generators.

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "reward/math/algebra.h"
#include "reward/math/ball.h"
#include "reward/math/exact.h"

namespace grpo::math {
namespace {

// Beyond it a polynomial is not factored: that is the dearest of all calls.
constexpr int64_t kMaxFactorTerms = 16, kMaxFactorDegree = 12;
constexpr int64_t kMaxIndex = 240;

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
    const Rational constant = Rational::FromInteger(factors->constant);
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
  const Rational denominator = exponent.Denominator();
  const std::optional<int64_t> index = denominator.ToInt64(), power = (exponent * denominator).ToInt64();
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

}  // namespace grpo::math
