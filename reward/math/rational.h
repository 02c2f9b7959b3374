// Rational numbers of any size, exact (FLINT's fmpq). The caller bounds sizes: FLINT aborts the process when memory
// runs out.
#ifndef GRPO_REWARD_MATH_RATIONAL_H_
#define GRPO_REWARD_MATH_RATIONAL_H_

#include <flint/fmpq.h>

#include <cstdint>
#include <string>

namespace grpo::math {

// A value; always in lowest terms. Thread-compatible; an object lives and dies on one thread (FLINT pools memory per
// thread).
class Rational {
 public:
  // Zero.
  Rational() { fmpq_init(value_); }
  Rational(const Rational& other) : Rational() { fmpq_set(value_, other.value_); }
  Rational(Rational&& other) noexcept : Rational() { fmpq_swap(value_, other.value_); }
  Rational& operator=(Rational other) {
    fmpq_swap(value_, other.value_);
    return *this;
  }
  ~Rational() { fmpq_clear(value_); }

  // digits * 10^exponent10; `digits` are decimal digits, at least one.
  static Rational FromDigits(const std::string& digits, int64_t exponent10);

  int Sign() const { return fmpq_sgn(value_); }
  Rational Abs() const;
  Rational operator-() const;
  Rational operator+(const Rational& other) const;
  Rational operator-(const Rational& other) const;
  Rational operator*(const Rational& other) const;
  // `other` is not zero.
  Rational operator/(const Rational& other) const;
  bool operator==(const Rational& other) const { return fmpq_equal(value_, other.value_); }
  bool operator<(const Rational& other) const { return fmpq_cmp(value_, other.value_) < 0; }

 private:
  fmpq_t value_;
};

}  // namespace grpo::math

#endif  // GRPO_REWARD_MATH_RATIONAL_H_
