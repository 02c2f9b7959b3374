#include "reward/math/power_terms.h"

#include <flint/fmpz.h>
#include <flint/ulong_extras.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "reward/math/ball.h"
#include "reward/math/exact.h"

namespace grpo::math {
namespace {

// Of a sum; of the products that a multiplication makes.
constexpr size_t kMaxTerms = 48, kMaxProducts = 400;
// Of a coefficient, and of an exponent.
constexpr int64_t kMaxCoefficientBits = 8192, kMaxExponentBits = 4096;
// Integer powers up to so many bits belong to the coefficient; of larger ones the exponents are multiples of this.
constexpr int64_t kWrittenBits = 1024, kExponentStep = 64;
constexpr int64_t kMaxSumPower = 32, kMaxDepth = 128;
constexpr size_t kMaxBaseChars = 1000;
// Primes below it are searched for in integers that do not fit a word.
constexpr uint64_t kTrialBound = 1000;

class Integer {
 public:
  explicit Integer(const fmpz_t value) { fmpz_init_set(value_, value); }
  Integer(const Integer&) = delete;
  ~Integer() { fmpz_clear(value_); }
  fmpz* get() { return value_; }

 private:
  fmpz_t value_;
};

bool IsOdd(const Rational& integer) {
  return fmpz_is_odd(fmpq_numref(integer.get()));
}

}  // namespace

bool IsPrimeBase(const std::string& base) {
  return absl::ascii_isdigit(base[0]);
}

// The value of a base that is an integer.
std::optional<Rational> ValueOfBase(const std::string& base) {
  if (!IsPrimeBase(base) && base[0] != '?') return std::nullopt;
  return Rational::FromDigits(base[0] == '?' ? base.substr(1) : base, 0);
}

std::optional<PowerQuotient> PowerEvaluator::Evaluate(NodeId id) {
  if (depth_ >= kMaxDepth || !work_.Spend(2)) return std::nullopt;
  ++depth_;
  std::optional<PowerQuotient> result = EvaluateNode(id);
  --depth_;
  return result;
}

std::optional<PowerTerms> PowerEvaluator::Multiply(const PowerTerms& a, const PowerTerms& b) {
  const size_t num_products = a.terms.size() * b.terms.size();
  if (num_products > kMaxProducts || !work_.Spend(1 + num_products)) return std::nullopt;
  PowerTerms result;
  for (const auto& [powers_a, coefficient_a] : a.terms) {
    for (const auto& [powers_b, coefficient_b] : b.terms) {
      Powers powers = powers_a;
      for (const auto& [base, exponent] : powers_b) powers[base] = powers[base] + exponent;
      if (!AddProduct(std::move(powers), coefficient_a * coefficient_b, &result)) return std::nullopt;
    }
  }
  return result;
}

std::optional<Powers> PowerEvaluator::Factor(const Rational& value) {
  Powers powers;
  const bool fits = AddFactors(fmpq_numref(value.get()), Rational(1), &powers) &&
                    AddFactors(fmpq_denref(value.get()), Rational(-1), &powers);
  return fits ? std::optional<Powers>(std::move(powers)) : std::nullopt;
}

std::optional<PowerQuotient> PowerEvaluator::Whole(std::optional<PowerTerms> sum) {
  if (!sum.has_value()) return std::nullopt;
  return PowerQuotient{*std::move(sum), PowerTerms(Rational(1))};
}

std::optional<PowerQuotient> PowerEvaluator::EvaluateNode(NodeId id) {
  const Node& node = tree_[id];
  switch (node.op) {
    case Op::kNumber:
      return node.value.Bits() > kMaxCoefficientBits ? std::nullopt : Whole(PowerTerms(node.value));
    case Op::kPi:
      return Base("pi");
    case Op::kE:
      return Base("e");
    case Op::kI:
      return Base("i");
    case Op::kNeg:
    case Op::kPercent:
    case Op::kAdd:
    case Op::kMul:
    case Op::kDiv:
      return Arithmetic(id);
    case Op::kPow: {
      const Exact exponent = EvaluateExactly(tree_, node.kids[1], &work_);
      if (!exponent.ok() || exponent.value.Bits() > kMaxExponentBits) return std::nullopt;
      return Power(node.kids[0], exponent.value, /*is_root=*/false);
    }
    case Op::kRoot: {
      const Exact index = EvaluateExactly(tree_, node.kids[1], &work_);
      if (!index.ok() || !index.value.IsInteger() || index.value.Sign() <= 0 || index.value.Bits() > 32)
        return std::nullopt;
      return Power(node.kids[0], Rational(1) / index.value, /*is_root=*/true);
    }
    case Op::kFunction: {
      const Exact exact = EvaluateExactly(tree_, id, &work_);
      return exact.ok() && exact.value.Bits() <= kMaxCoefficientBits ? Whole(PowerTerms(exact.value)) : std::nullopt;
    }
    default:
      return std::nullopt;
  }
}

std::optional<PowerQuotient> PowerEvaluator::Base(const char* name) {
  PowerTerms sum;
  sum.Add({{name, Rational(1)}}, Rational(1));
  return Whole(std::move(sum));
}

std::optional<PowerQuotient> PowerEvaluator::Arithmetic(NodeId id) {
  const Op op = tree_[id].op;
  std::optional<PowerQuotient> result = Evaluate(tree_[id].kids[0]);
  if (op == Op::kNeg || op == Op::kPercent) {
    return result.has_value()
               ? Product(*result, {PowerTerms(op == Op::kNeg ? Rational(-1) : Rational(1) / Rational(100)),
                                   PowerTerms(Rational(1))})
               : result;
  }
  for (size_t i = 1; i < tree_[id].kids.size() && result.has_value(); ++i) {
    const std::optional<PowerQuotient> next = Evaluate(tree_[id].kids[i]);
    if (!next.has_value()) return next;
    if (op == Op::kAdd) {
      result = Total(*result, *next);
    } else if (op == Op::kMul) {
      result = Product(*result, *next);
    } else {
      const std::optional<PowerQuotient> inverse = Inverse(*next, tree_[id].kids[i]);
      result = inverse.has_value() ? Product(*result, *inverse) : inverse;
    }
  }
  return result;
}

std::optional<PowerQuotient> PowerEvaluator::Total(const PowerQuotient& a, const PowerQuotient& b) {
  const std::optional<PowerTerms> left = Multiply(a.numerator, b.denominator),
                                  right = Multiply(b.numerator, a.denominator);
  std::optional<PowerTerms> below = Multiply(a.denominator, b.denominator);
  if (!left.has_value() || !right.has_value() || !below.has_value()) return std::nullopt;
  PowerQuotient result{*left, *std::move(below)};
  for (const auto& [powers, coefficient] : right->terms) result.numerator.Add(powers, coefficient);
  if (result.numerator.terms.size() > kMaxTerms) return std::nullopt;
  return result;
}

std::optional<PowerQuotient> PowerEvaluator::Product(const PowerQuotient& a, const PowerQuotient& b) {
  std::optional<PowerTerms> above = Multiply(a.numerator, b.numerator), below = Multiply(a.denominator, b.denominator);
  if (!above.has_value() || !below.has_value()) return std::nullopt;
  if (above->terms.size() > kMaxTerms || below->terms.size() > kMaxTerms) return std::nullopt;
  return PowerQuotient{*std::move(above), *std::move(below)};
}

std::optional<PowerQuotient> PowerEvaluator::Inverse(const PowerQuotient& value, NodeId id) {
  if (value.numerator.IsZero()) return std::nullopt;
  if (value.numerator.IsSingle()) {
    const auto& [powers, coefficient] = *value.numerator.terms.begin();
    Powers inverse;
    for (const auto& [base, exponent] : powers) inverse[base] = -exponent;
    PowerTerms sum;
    if (!AddProduct(std::move(inverse), Rational(1) / coefficient, &sum)) return std::nullopt;
    return Product({std::move(sum), PowerTerms(Rational(1))}, {value.denominator, PowerTerms(Rational(1))});
  }
  const Ball ball = EvaluateBall(tree_, id, {}, /*natural_log=*/false, /*precision=*/96, &work_);
  if (!ball.IsFinite() || acb_contains_zero(ball.get())) return std::nullopt;
  return PowerQuotient{value.denominator, value.numerator};
}

std::optional<PowerQuotient> PowerEvaluator::Power(NodeId base_id, const Rational& exponent, bool is_root) {
  const std::optional<PowerQuotient> base = Evaluate(base_id);
  if (!base.has_value() || base->numerator.IsZero() || exponent.Sign() == 0) return std::nullopt;
  if (base->denominator.IsSingle()) {
    const std::optional<PowerQuotient> below = Inverse({base->denominator, PowerTerms(Rational(1))}, base_id);
    const std::optional<PowerTerms> whole =
        below.has_value() ? Multiply(base->numerator, below->numerator) : std::nullopt;
    if (!whole.has_value()) return std::nullopt;
    if (whole->IsSingle()) {
      const auto& [powers, coefficient] = *whole->terms.begin();
      return SinglePower(powers, coefficient, exponent, is_root);
    }
    if (!exponent.IsInteger()) return SumPower(*whole, base_id, exponent);
  }
  const std::optional<int64_t> times = exponent.ToInt64();
  if (!times.has_value() || std::abs(*times) > kMaxSumPower) return std::nullopt;
  std::optional<PowerQuotient> result = base;
  for (int64_t k = 1; k < std::abs(*times) && result.has_value(); ++k) result = Product(*result, *base);
  return result.has_value() && *times < 0 ? Inverse(*result, base_id) : result;
}

std::optional<PowerQuotient> PowerEvaluator::SinglePower(const Powers& powers, const Rational& coefficient,
                                                         const Rational& exponent, bool is_root) {
  const bool is_negative = coefficient.Sign() < 0;
  Rational sign(1);
  Powers result;
  if (!exponent.IsInteger()) {
    if (powers.count("i") > 0) return std::nullopt;
    if (is_negative) {
      const Rational index = exponent.Denominator();
      if (is_root && IsOdd(index)) {
        sign = Rational(-1);
      } else if (index == Rational(2)) {
        result["i"] = exponent * index;
      } else {
        return std::nullopt;
      }
    }
  } else if (is_negative && IsOdd(exponent)) {
    sign = Rational(-1);
  }
  for (const auto& [base, power] : powers) result[base] = result[base] + power * exponent;
  const std::optional<int64_t> times = exponent.ToInt64();
  const Rational magnitude = coefficient.Abs();
  const bool is_small =
      times.has_value() && std::abs(*times) < kMaxCoefficientBits && magnitude.Bits() * std::abs(*times) < kWrittenBits;
  if (is_small || magnitude == Rational(1)) {
    if (is_small) sign = sign * magnitude.Pow(*times);
  } else {
    const std::optional<Powers> factors = Factor(magnitude);
    if (!factors.has_value()) return std::nullopt;
    for (const auto& [base, power] : *factors) result[base] = result[base] + power * exponent;
  }
  PowerTerms sum;
  if (!AddProduct(std::move(result), sign, &sum)) return std::nullopt;
  return Whole(std::move(sum));
}

std::optional<PowerQuotient> PowerEvaluator::SumPower(const PowerTerms& sum, NodeId id, const Rational& exponent) {
  const Ball ball = EvaluateBall(tree_, id, {}, /*natural_log=*/false, /*precision=*/96, &work_);
  if (!ball.IsFinite() || !acb_is_real(ball.get()) || !arb_is_positive(ball.real())) return std::nullopt;
  Rational content;
  for (const auto& [powers, coefficient] : sum.terms) {
    content = Rational::Gcd(content, coefficient);
  }
  PowerTerms primitive;
  for (const auto& [powers, coefficient] : sum.terms) primitive.Add(powers, coefficient / content);
  const std::string base = absl::StrCat("(", primitive.ToString(), ")");
  if (base.size() > kMaxBaseChars) return std::nullopt;
  sums_.emplace(base, primitive);
  return SinglePower({{base, Rational(1)}}, content, exponent, /*is_root=*/true);
}

bool PowerEvaluator::AddProduct(Powers powers, Rational coefficient, PowerTerms* sum) {
  Powers kept;
  std::optional<PowerTerms> expanded;
  for (const auto& [base, exponent] : powers) {
    if (exponent.Sign() == 0) continue;
    if (exponent.Bits() > kMaxExponentBits) return false;
    const Rational whole = exponent.Floor();
    const std::optional<int64_t> times = whole.ToInt64();
    if (base == "i") {
      if (!exponent.IsInteger()) return false;
      if (fmpz_fdiv_ui(fmpq_numref(exponent.get()), 4) >= 2) coefficient = -coefficient;
      if (IsOdd(exponent)) kept[base] = Rational(1);
    } else if (const std::optional<Rational> value = ValueOfBase(base); value.has_value()) {
      const bool is_written =
          times.has_value() && std::abs(*times) <= kWrittenBits && std::abs(*times) * value->Bits() <= kWrittenBits;
      const int64_t rest = is_written ? *times : fmpz_fdiv_ui(fmpq_numref(whole.get()), kExponentStep);
      if (rest * value->Bits() > kMaxCoefficientBits) return false;
      coefficient = coefficient * value->Pow(rest);
      if (const Rational left = exponent - Rational(rest); left.Sign() != 0) kept[base] = left;
    } else if (base[0] == '(' && times.has_value() && *times >= 1) {
      if (*times > kMaxSumPower) return false;
      if (!expanded.has_value()) expanded = PowerTerms(Rational(1));
      for (int64_t k = 0; k < *times && expanded.has_value(); ++k) expanded = Multiply(*expanded, sums_.at(base));
      if (!expanded.has_value()) return false;
      if (const Rational left = exponent - whole; left.Sign() != 0) kept[base] = left;
    } else {
      kept[base] = exponent;
    }
  }
  if (coefficient.Bits() > kMaxCoefficientBits) return false;
  if (!expanded.has_value()) {
    sum->Add(kept, coefficient);
    return true;
  }
  PowerTerms rest;
  rest.Add(kept, coefficient);
  const std::optional<PowerTerms> product = Multiply(*expanded, rest);
  if (!product.has_value()) return false;
  for (const auto& [product_powers, product_coefficient] : product->terms)
    sum->Add(product_powers, product_coefficient);
  return true;
}

bool PowerEvaluator::AddFactors(const fmpz_t positive, const Rational& weight, Powers* powers) {
  if (fmpz_bits(positive) > kMaxCoefficientBits || !work_.Spend(5)) return false;
  Integer rest(positive);
  const auto add = [&](const std::string& base, int64_t times) {
    (*powers)[base] = (*powers)[base] + weight * Rational(times);
  };
  if (!fmpz_abs_fits_ui(rest.get())) {
    if (!work_.Spend(50 + fmpz_bits(rest.get()) / 20)) return false;
    for (uint64_t prime = 2; prime < kTrialBound; prime = n_nextprime(prime, /*proved=*/1)) {
      fmpz_t factor;
      fmpz_init_set_ui(factor, prime);
      const int64_t times = fmpz_remove(rest.get(), rest.get(), factor);
      fmpz_clear(factor);
      if (times > 0) add(absl::StrCat(prime), times);
    }
  }
  if (fmpz_is_one(rest.get())) return true;
  if (!fmpz_abs_fits_ui(rest.get())) {
    Integer root(rest.get());
    const int64_t times = fmpz_is_perfect_power(root.get(), rest.get());
    add(absl::StrCat("?", Rational::FromInteger(times > 0 ? root.get() : rest.get()).ToString()),
        std::max<int64_t>(times, 1));
    return true;
  }
  if (!work_.Spend(fmpz_bits(rest.get()) > 40 ? 200 : 5)) return false;
  n_factor_t factors;
  n_factor_init(&factors);
  n_factor(&factors, fmpz_get_ui(rest.get()), /*proved=*/1);
  for (int i = 0; i < factors.num; ++i) add(absl::StrCat(factors.p[i]), factors.exp[i]);
  return true;
}

}  // namespace grpo::math
