#include "reward/math/fraction.h"

#include <algorithm>
#include <cstdlib>

namespace grpo::math {
namespace {

// Of a product. With these a greatest common divisor, the dearest step, stays within milliseconds.
constexpr int64_t kMaxTerms = 600, kMaxCoefficientBits = 2000, kMaxExponent = 400;

int64_t NumTerms(const fmpz_mpoly_struct* polynomial) {
  return std::max<int64_t>(fmpz_mpoly_length(polynomial, FractionRing()), 1);
}

int64_t CoefficientBits(const fmpz_mpoly_struct* polynomial) {
  return std::abs(fmpz_mpoly_max_bits(polynomial));
}

int64_t Degree(const fmpz_mpoly_struct* polynomial) {
  fmpz_t degree;
  fmpz_init(degree);
  fmpz_mpoly_total_degree_fmpz(degree, polynomial, FractionRing());
  const int64_t result = fmpz_bits(degree) > 40 ? int64_t{1} << 40 : fmpz_get_si(degree);
  fmpz_clear(degree);
  return std::max<int64_t>(result, 0);
}

class Ring {
 public:
  Ring() { fmpz_mpoly_ctx_init(context_, kNumGenerators, ORD_LEX); }
  const fmpz_mpoly_ctx_struct* get() const { return context_; }

 private:
  fmpz_mpoly_ctx_t context_;
};

}  // namespace

const fmpz_mpoly_ctx_struct* FractionRing() {
  static const Ring& ring = *new Ring;
  return ring.get();
}

Fraction Fraction::Generator(int index) {
  Fraction result;
  fmpz_mpoly_q_gen(result.value_, index, FractionRing());
  return result;
}

Fraction Fraction::FromPolynomial(const fmpz_mpoly_t numerator) {
  Fraction result;
  fmpz_mpoly_set(fmpz_mpoly_q_numref(result.value_), numerator, FractionRing());
  fmpz_mpoly_one(fmpz_mpoly_q_denref(result.value_), FractionRing());
  return result;
}

Rational Fraction::Constant() const {
  fmpq_t value;
  fmpq_init(value);
  if (!IsZero()) {
    fmpz_mpoly_get_fmpz(fmpq_numref(value), numerator(), FractionRing());
    fmpz_mpoly_get_fmpz(fmpq_denref(value), denominator(), FractionRing());
  }
  const Rational result(value);
  fmpq_clear(value);
  return result;
}

Fraction Fraction::Negated() const {
  Fraction result;
  fmpz_mpoly_q_neg(result.value_, value_, FractionRing());
  return result;
}

std::string Fraction::ToString() const {
  std::string result;
  for (const fmpz_mpoly_struct* part : {numerator(), denominator()}) {
    char* text = fmpz_mpoly_get_str_pretty(part, nullptr, FractionRing());
    result += text;
    result += '/';
    flint_free(text);
  }
  return result;
}

bool FractionArithmetic::Fits(const Fraction& a, const Fraction& b) {
  const int64_t num_terms =
      (NumTerms(a.numerator()) + NumTerms(a.denominator())) * (NumTerms(b.numerator()) + NumTerms(b.denominator()));
  int64_t bits = 0, degree = 0;
  bool has_denominator = false;
  for (const Fraction* part : {&a, &b}) {
    bits += CoefficientBits(part->numerator()) + CoefficientBits(part->denominator());
    degree += std::max(Degree(part->numerator()), Degree(part->denominator()));
    has_denominator |= !fmpz_mpoly_is_fmpz(part->denominator(), FractionRing());
  }
  if (num_terms > kMaxTerms || bits > kMaxCoefficientBits || degree > kMaxExponent) return false;
  // Greatest common divisors of large dense polynomials are dear.
  if (has_denominator && num_terms * degree > 24000) return false;
  return work_.Spend(2 + num_terms / 4 + (has_denominator ? num_terms * degree / 16 : 0));
}

std::optional<Fraction> FractionArithmetic::Add(const Fraction& a, const Fraction& b) {
  if (!Fits(a, b)) return std::nullopt;
  Fraction result;
  fmpz_mpoly_q_add(result.value_, a.value_, b.value_, FractionRing());
  return result;
}

std::optional<Fraction> FractionArithmetic::Multiply(const Fraction& a, const Fraction& b) {
  if (!Fits(a, b)) return std::nullopt;
  Fraction result;
  fmpz_mpoly_q_mul(result.value_, a.value_, b.value_, FractionRing());
  return result;
}

std::optional<Fraction> FractionArithmetic::Divide(const Fraction& a, const Fraction& b) {
  if (b.IsZero() || !Fits(a, b)) return std::nullopt;
  Fraction result;
  fmpz_mpoly_q_div(result.value_, a.value_, b.value_, FractionRing());
  return result;
}

std::optional<Fraction> FractionArithmetic::Power(const Fraction& a, int64_t exponent) {
  if (std::abs(exponent) > kMaxExponent) return std::nullopt;
  if (exponent < 0) {
    const std::optional<Fraction> inverse = Divide(Fraction(Rational(1)), a);
    return inverse.has_value() ? Power(*inverse, -exponent) : std::nullopt;
  }
  // Squaring with the size checked at each step.
  std::optional<Fraction> result = Fraction(Rational(1)), square = a;
  for (; exponent > 0 && result.has_value(); exponent /= 2) {
    if (exponent % 2 == 1) result = Multiply(*result, *square);
    if (exponent > 1) {
      square = Multiply(*square, *square);
      if (!square.has_value()) return std::nullopt;
    }
  }
  return result;
}

}  // namespace grpo::math
