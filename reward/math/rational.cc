#include "reward/math/rational.h"

#include <cstdlib>

namespace grpo::math {
namespace {

// Gives FLINT's memory pool of a thread back when the thread ends; servers start and end threads for ever.
struct FlintPool {
  ~FlintPool() { flint_cleanup(); }
};

}  // namespace

Rational Rational::FromDigits(const std::string& digits, int64_t exponent10) {
  static thread_local FlintPool pool;
  (void)pool;
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
