// Rational numbers of any size, exact (FLINT's fmpq). The caller bounds sizes: FLINT aborts the process when memory
// runs out.
#ifndef GRPO_REWARD_MATH_RATIONAL_H_
#define GRPO_REWARD_MATH_RATIONAL_H_

#include <flint/fmpq.h>

#include <cstdint>
#include <optional>
#include <string>

namespace grpo::math {

// FLINT pools memory per thread; gives this thread's back when it ends, since servers start and end threads for ever.
void ReleaseFlintAtThreadEnd();

// A value; always in lowest terms. Thread-compatible; an object lives and dies on one thread (FLINT pools memory per
// thread).
class Rational {
 public:
  // Zero.
  Rational() { fmpq_init(value_); }
  explicit Rational(int64_t integer) : Rational() { fmpq_set_si(value_, integer, 1); }
  explicit Rational(const fmpq_t value) : Rational() { fmpq_set(value_, value); }
  Rational(const Rational& other) : Rational() { fmpq_set(value_, other.value_); }
  Rational(Rational&& other) noexcept : Rational() { fmpq_swap(value_, other.value_); }
  Rational& operator=(Rational other) {
    fmpq_swap(value_, other.value_);
    return *this;
  }
  ~Rational() { fmpq_clear(value_); }

  // digits * 10^exponent10; `digits` are decimal digits, at least one.
  static Rational FromDigits(const std::string& digits, int64_t exponent10);
  static Rational FromInteger(const fmpz_t integer);
  // The largest number that both are integer multiples of; not negative.
  static Rational Gcd(const Rational& a, const Rational& b);
  // Digits of a base from 2 to 36, upper or lower case. Absent when one is none of the base.
  static std::optional<Rational> FromBase(const std::string& digits, int base);

  int Sign() const { return fmpq_sgn(value_); }
  bool IsInteger() const { return fmpz_is_one(fmpq_denref(value_)); }
  // The value when it is an integer of at most 62 bits.
  std::optional<int64_t> ToInt64() const;
  // Bits of the numerator or the denominator, the larger.
  int64_t Bits() const;
  Rational Abs() const;
  Rational Denominator() const;
  Rational Floor() const;
  Rational operator-() const;
  Rational operator+(const Rational& other) const;
  Rational operator-(const Rational& other) const;
  Rational operator*(const Rational& other) const;
  // `other` is not zero.
  Rational operator/(const Rational& other) const;
  // Not 0 to a negative power.
  Rational Pow(int64_t exponent) const;
  // The real root when it is rational, else absent. `index` is positive; even roots of negative numbers are absent.
  std::optional<Rational> Root(int64_t index) const;
  // "7", "-7/3".
  std::string ToString() const;

  bool operator==(const Rational& other) const { return fmpq_equal(value_, other.value_); }
  bool operator<(const Rational& other) const { return fmpq_cmp(value_, other.value_) < 0; }

  // For the libraries that compute with it.
  const fmpq* get() const { return value_; }

 private:
  fmpq_t value_;
};

}  // namespace grpo::math

#endif  // GRPO_REWARD_MATH_RATIONAL_H_
