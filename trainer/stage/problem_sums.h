// What a synthesize stage measured of its problems, over all of them. Links no torch.
#ifndef GRPO_TRAINER_STAGE_PROBLEM_SUMS_H_
#define GRPO_TRAINER_STAGE_PROBLEM_SUMS_H_

#include <cstdint>
#include <map>
#include <string>

#include "nlohmann/json.hpp"

namespace grpo {

// One thread.
class ProblemSums {
 public:
  // GroupTraces::problem of the next group; null counts nothing.
  void Count(const nlohmann::ordered_json& problem);
  // solve_rate_mean over problems with an answer, num_pseudo_labels and pseudo_label_margin_mean over labelled ones;
  // what was not measured is left out.
  void AddMetrics(std::map<std::string, double>* metrics) const;

 private:
  int64_t num_measured_ = 0, num_asked_ = 0, num_labelled_ = 0;
  double solve_rate_sum_ = 0, margin_sum_ = 0;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_STAGE_PROBLEM_SUMS_H_
