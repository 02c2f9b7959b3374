#include "reward/math/rational.h"

#include <algorithm>
#include <cstdlib>

namespace grpo::math {
namespace {

struct FlintPool {
  ~FlintPool() { flint_cleanup(); }
};

}  // namespace

void ReleaseFlintAtThreadEnd() {
  static thread_local FlintPool pool;
  (void)pool;
}

Rational Rational::FromDigits(const std::string& digits, int64_t exponent10) {
  Rational result;
  fmpz_set_str(fmpq_numref(result.value_), digits.c_str(), 10);
  fmpz_t power;
  fmpz_init_set_ui(power, 10);
  fmpz_pow_ui(power, power, static_cast<ulong>(std::llabs(exponent10)));
  if (exponent10 >= 0) {
    fmpq_mul_fmpz(result.value_, result.value_, power);
  } else {
    fmpq_div_fmpz(result.value_, result.value_, power);
  }
  fmpz_clear(power);
  return result;
}

Rational Rational::FromInteger(const fmpz_t integer) {
  Rational result;
  fmpq_set_fmpz(result.value_, integer);
  return result;
}

Rational Rational::Gcd(const Rational& a, const Rational& b) {
  Rational result;
  fmpq_gcd(result.value_, a.value_, b.value_);
  return result;
}

Rational Rational::Denominator() const {
  return FromInteger(fmpq_denref(value_));
}

std::optional<Rational> Rational::FromBase(const std::string& digits, int base) {
  Rational result;
  if (fmpz_set_str(fmpq_numref(result.value_), digits.c_str(), base) != 0) return std::nullopt;
  return result;
}

std::optional<int64_t> Rational::ToInt64() const {
  if (!IsInteger() || fmpz_bits(fmpq_numref(value_)) > 62) return std::nullopt;
  return fmpz_get_si(fmpq_numref(value_));
}

int64_t Rational::Bits() const {
  return std::max<int64_t>(fmpz_bits(fmpq_numref(value_)), fmpz_bits(fmpq_denref(value_)));
}

Rational Rational::Floor() const {
  Rational result;
  fmpz_fdiv_q(fmpq_numref(result.value_), fmpq_numref(value_), fmpq_denref(value_));
  return result;
}

Rational Rational::Pow(int64_t exponent) const {
  Rational result;
  fmpq_pow_si(result.value_, value_, exponent);
  return result;
}

std::optional<Rational> Rational::Root(int64_t index) const {
  if (Sign() < 0 && index % 2 == 0) return std::nullopt;
  Rational result;
  // Negative numbers have the negative real root.
  if (!fmpz_root(fmpq_numref(result.value_), fmpq_numref(value_), index) ||
      !fmpz_root(fmpq_denref(result.value_), fmpq_denref(value_), index)) {
    return std::nullopt;
  }
  return result;
}

std::string Rational::ToString() const {
  char* text = fmpq_get_str(nullptr, 10, value_);
  const std::string result = text;
  flint_free(text);
  return result;
}

Rational Rational::Abs() const {
  Rational result;
  fmpq_abs(result.value_, value_);
  return result;
}

Rational Rational::operator-() const {
  Rational result;
  fmpq_neg(result.value_, value_);
  return result;
}

Rational Rational::operator+(const Rational& other) const {
  Rational result;
  fmpq_add(result.value_, value_, other.value_);
  return result;
}

Rational Rational::operator-(const Rational& other) const {
  Rational result;
  fmpq_sub(result.value_, value_, other.value_);
  return result;
}

Rational Rational::operator*(const Rational& other) const {
  Rational result;
  fmpq_mul(result.value_, value_, other.value_);
  return result;
}

Rational Rational::operator/(const Rational& other) const {
  Rational result;
  fmpq_div(result.value_, value_, other.value_);
  return result;
}

}  // namespace grpo::math
