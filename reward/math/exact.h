// The rational value of a closed expression, exactly: arithmetic, powers and roots that come out even, factorials,
// binomials, percentages.
#ifndef GRPO_REWARD_MATH_EXACT_H_
#define GRPO_REWARD_MATH_EXACT_H_

#include <optional>

#include "reward/math/tree.h"
#include "reward/math/verdict.h"

namespace grpo::math {

// Numbers of more bits are not computed; 20,000 digits fit.
inline constexpr int64_t kMaxBits = int64_t{1} << 17;

struct Exact {
  enum Kind {
    kValue,
    // Something in it is no rational number, or is unknown here.
    kNotRational,
    // It divides by zero, or is 0^0.
    kUndefined,
    // A number in it is larger than the budget.
    kTooLarge,
  };
  Kind kind = kNotRational;
  Rational value = {};

  bool ok() const { return kind == kValue; }
};

Exact EvaluateExactly(const Tree& tree, NodeId id, Work* work);

// A decimal as written, "0.5", "-3.2 \times 10^5", "12.5%": its value, the weight of its last digit and how many digits
// it shows. Absent for everything else.
struct Decimal {
  Rational value, last_digit;
  int64_t num_significant_digits;
};
std::optional<Decimal> DecimalOf(const Tree& tree, NodeId id);

}  // namespace grpo::math

#endif  // GRPO_REWARD_MATH_EXACT_H_
