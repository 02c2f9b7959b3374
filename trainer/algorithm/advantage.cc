#include "trainer/algorithm/advantage.h"

#include <algorithm>
#include <cmath>

namespace grpo {

std::vector<double> GroupAdvantages(const std::vector<std::optional<double>>& rewards, std::optional<double> std_eps) {
  std::vector<double> advantages(rewards.size(), 0.0);
  std::vector<double> present;
  for (const auto& reward : rewards) {
    if (reward) present.push_back(*reward);
  }
  // Equal rewards are told apart from rounding of their mean: their advantage is exactly 0.
  if (present.size() < 2 || std::all_of(present.begin(), present.end(), [&](double r) { return r == present[0]; }))
    return advantages;
  double mean = 0;
  for (const double reward : present) mean += reward;
  mean /= static_cast<double>(present.size());
  double scale = 1;
  if (std_eps) {
    double squares = 0;
    for (const double reward : present) squares += (reward - mean) * (reward - mean);
    scale = std::sqrt(squares / static_cast<double>(present.size() - 1)) + *std_eps;
  }
  for (size_t i = 0; i < rewards.size(); ++i) {
    if (rewards[i]) advantages[i] = (*rewards[i] - mean) / scale;
  }
  return advantages;
}

}  // namespace grpo
