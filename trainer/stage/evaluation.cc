#include "trainer/stage/evaluation.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"

namespace grpo {
namespace {

bool MajoritySolved(const std::vector<ProblemSamples::Sample>& samples) {
  std::map<std::string, int64_t> votes;
  for (const auto& sample : samples) {
    if (!sample.extracted.empty()) ++votes[sample.extracted];
  }
  const ProblemSamples::Sample* winner = nullptr;
  for (const auto& sample : samples) {
    if (sample.extracted.empty()) continue;
    if (winner == nullptr || votes[sample.extracted] > votes[winner->extracted]) winner = &sample;
  }
  return winner != nullptr && winner->solved;
}

int64_t NumSolved(const ProblemSamples& problem) {
  return std::count_if(problem.samples.begin(), problem.samples.end(),
                       [](const auto& sample) { return sample.solved; });
}

}  // namespace

double PassAtK(int64_t num_samples, int64_t num_solved, int64_t k) {
  if (num_samples - num_solved < k) return 1;
  double all_wrong = 1;
  for (int64_t i = num_samples - num_solved + 1; i <= num_samples; ++i)
    all_wrong *= 1 - static_cast<double>(k) / static_cast<double>(i);
  return 1 - all_wrong;
}

std::map<std::string, double> AccuracyMetrics(const std::vector<ProblemSamples>& problems) {
  std::map<std::string, double> metrics;
  if (problems.empty()) return metrics;
  const int64_t n = static_cast<int64_t>(problems[0].samples.size());
  const double num_problems = static_cast<double>(problems.size());
  for (int64_t k = 1; k <= n; k *= 2) {
    double sum = 0;
    for (const ProblemSamples& problem : problems) sum += PassAtK(n, NumSolved(problem), k);
    metrics[absl::StrCat("pass_at_", k)] = sum / num_problems;
  }
  double majority = 0, squares = 0;
  const double mean = metrics["pass_at_1"];
  for (const ProblemSamples& problem : problems) {
    majority += MajoritySolved(problem.samples);
    const double difference = static_cast<double>(NumSolved(problem)) / static_cast<double>(n) - mean;
    squares += difference * difference;
  }
  metrics[absl::StrCat("maj_at_", n)] = majority / num_problems;
  const double standard_error = problems.size() > 1 ? std::sqrt(squares / (num_problems - 1) / num_problems) : 1;
  metrics["pass_at_1_ci_low"] = std::max(0.0, mean - 1.96 * standard_error);
  metrics["pass_at_1_ci_high"] = std::min(1.0, mean + 1.96 * standard_error);
  return metrics;
}

}  // namespace grpo
