#include "trainer/stage/problem_sums.h"

#include "trainer/records/metrics.h"

namespace grpo {

void ProblemSums::Count(const nlohmann::ordered_json& problem) {
  if (!problem.is_object()) return;
  if (problem.contains("solve_rate")) {
    ++num_measured_;
    solve_rate_sum_ += problem.value("solve_rate", 0.0);
  }
  if (!problem.contains("majority_share")) return;
  ++num_asked_;
  if (problem.value("dropped", "") == "no_majority") return;
  ++num_labelled_;
  margin_sum_ += problem.value("majority_margin", 0.0);
}

void ProblemSums::AddMetrics(std::map<std::string, double>* metrics) const {
  if (num_measured_ > 0) (*metrics)[metric::kSolveRateMean] = solve_rate_sum_ / static_cast<double>(num_measured_);
  if (num_asked_ > 0) (*metrics)[metric::kNumPseudoLabels] = static_cast<double>(num_labelled_);
  if (num_labelled_ > 0) (*metrics)[metric::kPseudoLabelMarginMean] = margin_sum_ / static_cast<double>(num_labelled_);
}

}  // namespace grpo
