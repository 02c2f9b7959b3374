// Units of measure: what a word names, and how many of one unit another is. The factors are UDUNITS-2's, read once when
// the first unit is asked for and constant after that, since the library keeps global state. Thread-safe.
#ifndef GRPO_REWARD_MATH_UNIT_H_
#define GRPO_REWARD_MATH_UNIT_H_

#include <map>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "reward/math/rational.h"

namespace grpo::math {

// The one name of a unit that a word or an abbreviation stands for ("hrs" -> "hour", "cm" -> "centimeter"); empty when
// it is none. Short ones are told apart by case.
std::string UnitName(absl::string_view word);

// What a unit is made of: factor times the product of base[name]^exponent.
struct Dimension {
  Rational factor = Rational(1);
  std::map<std::string, int> base;
};

// Of "meter^2*second^-1", names as UnitName gives them. A name that is no unit ("apple") is a base of its own.
Dimension DimensionOf(absl::string_view unit);

}  // namespace grpo::math

#endif  // GRPO_REWARD_MATH_UNIT_H_
