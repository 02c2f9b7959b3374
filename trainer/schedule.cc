#include "trainer/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace grpo {

double Schedule::At(double done_frac) const {
  if (shape == "constant") return start;
  // Nothing to go through: the end is there from the first step on.
  const double way = over_frac > 0 ? std::clamp(done_frac / over_frac, 0.0, 1.0) : 1.0;
  return start + (end - start) * (shape == "cosine" ? (1 - std::cos(std::numbers::pi * way)) / 2 : way);
}

Schedule Schedule::Times(double factor) const {
  Schedule scaled = *this;
  scaled.start *= factor;
  scaled.end *= factor;
  return scaled;
}

Schedule Schedule::OneMinus(double factor) const {
  Schedule rest = *this;
  rest.start = factor * (1 - start);
  rest.end = factor * (1 - end);
  return rest;
}

}  // namespace grpo
