// Rational functions in a fixed number of generators, in normal form: numerator and denominator without common factor
// (Calcium's fmpz_mpoly_q). Sizes are checked before each operation.
#ifndef GRPO_REWARD_MATH_FRACTION_H_
#define GRPO_REWARD_MATH_FRACTION_H_

#include <optional>
#include <string>
#include <vector>

#include "reward/math/calcium.h"
#include "reward/math/rational.h"
#include "reward/math/verdict.h"

namespace grpo::math {

// Generators of one ring; what each stands for is the caller's.
inline constexpr int kNumGenerators = 16;

// The ring of all fractions of a thread; immutable.
const fmpz_mpoly_ctx_struct* FractionRing();

// A value; lives and dies on one thread.
class Fraction {
 public:
  Fraction() { fmpz_mpoly_q_init(value_, FractionRing()); }
  explicit Fraction(const Rational& value) : Fraction() { fmpz_mpoly_q_set_fmpq(value_, value.get(), FractionRing()); }
  Fraction(const Fraction& other) : Fraction() { fmpz_mpoly_q_set(value_, other.value_, FractionRing()); }
  Fraction(Fraction&& other) noexcept : Fraction() { fmpz_mpoly_q_swap(value_, other.value_, FractionRing()); }
  Fraction& operator=(Fraction other) {
    fmpz_mpoly_q_swap(value_, other.value_, FractionRing());
    return *this;
  }
  ~Fraction() { fmpz_mpoly_q_clear(value_, FractionRing()); }

  static Fraction Generator(int index);
  // numerator / 1.
  static Fraction FromPolynomial(const fmpz_mpoly_t numerator);

  bool IsZero() const { return fmpz_mpoly_q_is_zero(value_, FractionRing()); }
  bool IsConstant() const { return fmpz_mpoly_q_is_fmpq(value_, FractionRing()); }
  // The value of a constant.
  Rational Constant() const;
  Fraction Negated() const;
  const fmpz_mpoly_struct* numerator() const { return fmpz_mpoly_q_numref(value_); }
  const fmpz_mpoly_struct* denominator() const { return fmpz_mpoly_q_denref(value_); }
  // The same for equal fractions of one assignment of generators.
  std::string ToString() const;

 private:
  friend class FractionArithmetic;
  fmpz_mpoly_q_t value_;
};

// Absent: too large, or a division by zero.
class FractionArithmetic {
 public:
  explicit FractionArithmetic(Work* work) : work_(*work) {}

  std::optional<Fraction> Add(const Fraction& a, const Fraction& b);
  std::optional<Fraction> Multiply(const Fraction& a, const Fraction& b);
  std::optional<Fraction> Divide(const Fraction& a, const Fraction& b);
  std::optional<Fraction> Power(const Fraction& a, int64_t exponent);

 private:
  // Whether an operation whose result has the terms of a product of the two is within bounds.
  bool Fits(const Fraction& a, const Fraction& b);

  Work& work_;
};

}  // namespace grpo::math

#endif  // GRPO_REWARD_MATH_FRACTION_H_
