// Values of expressions as complex balls (Arb): what is outside of a ball is proven to be no value.
#ifndef GRPO_REWARD_MATH_BALL_H_
#define GRPO_REWARD_MATH_BALL_H_

#include <acb.h>

#include <map>
#include <string>

#include "reward/math/tree.h"
#include "reward/math/verdict.h"

namespace grpo::math {

// A complex ball. Lives and dies on one thread.
class Ball {
 public:
  Ball() { acb_init(value_); }
  Ball(const Ball& other) : Ball() { acb_set(value_, other.value_); }
  Ball(Ball&& other) noexcept : Ball() { acb_swap(value_, other.value_); }
  Ball& operator=(Ball other) {
    acb_swap(value_, other.value_);
    return *this;
  }
  ~Ball() { acb_clear(value_); }

  acb_struct* get() { return value_; }
  const acb_struct* get() const { return value_; }
  arb_struct* real() { return acb_realref(value_); }
  const arb_struct* real() const { return acb_realref(value_); }
  bool IsFinite() const { return acb_is_finite(value_); }
  // The imaginary part may be zero.
  bool MayBeReal() const { return arb_contains_zero(acb_imagref(value_)); }

 private:
  acb_t value_;
};

// Where the names stand for numbers.
using Point = std::map<std::string, Rational>;

// The value of `id` at `point` with about `precision` bits; not finite where it has none, is unknown, or the budget
// ends. `natural_log`: what a logarithm without a base is, else that of base 10.
Ball EvaluateBall(const Tree& tree, NodeId id, const Point& point, bool natural_log, int64_t precision, Work* work);

}  // namespace grpo::math

#endif  // GRPO_REWARD_MATH_BALL_H_
