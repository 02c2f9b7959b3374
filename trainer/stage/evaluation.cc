#include "trainer/stage/evaluation.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "reward/outcome.h"
#include "trainer/records/metrics.h"

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

int64_t NumSamples(const ProblemSamples& problem) {
  return static_cast<int64_t>(problem.samples.size());
}

}  // namespace

double PassAtK(int64_t num_samples, int64_t num_solved, int64_t k) {
  if (num_samples - num_solved < k) return 1;
  double all_wrong = 1;
  for (int64_t i = num_samples - num_solved + 1; i <= num_samples; ++i)
    all_wrong *= 1 - static_cast<double>(k) / static_cast<double>(i);
  return 1 - all_wrong;
}

std::map<std::string, double> AccuracyMetrics(const std::vector<ProblemSamples>& all, int64_t samples_per_problem) {
  std::map<std::string, double> metrics;
  std::vector<ProblemSamples> problems;
  std::copy_if(all.begin(), all.end(), std::back_inserter(problems),
               [](const ProblemSamples& problem) { return !problem.samples.empty(); });
  if (problems.empty()) return metrics;
  const double num_problems = static_cast<double>(problems.size());
  for (int64_t k = 1; k <= samples_per_problem; k *= 2) {
    double sum = 0, num_counted = 0;
    for (const ProblemSamples& problem : problems) {
      if (NumSamples(problem) < k) continue;
      sum += PassAtK(NumSamples(problem), NumSolved(problem), k);
      ++num_counted;
    }
    if (num_counted > 0) metrics[metric::PassAt(k)] = sum / num_counted;
  }
  double majority = 0, squares = 0;
  const double mean = metrics[metric::PassAt(1)];
  for (const ProblemSamples& problem : problems) {
    majority += MajoritySolved(problem.samples);
    const double difference = static_cast<double>(NumSolved(problem)) / static_cast<double>(NumSamples(problem)) - mean;
    squares += difference * difference;
  }
  metrics[metric::MajAt(samples_per_problem)] = majority / num_problems;
  const double standard_error = problems.size() > 1 ? std::sqrt(squares / (num_problems - 1) / num_problems) : 1;
  metrics[metric::kPassAt1CiLow] = std::max(0.0, mean - 1.96 * standard_error);
  metrics[metric::kPassAt1CiHigh] = std::min(1.0, mean + 1.96 * standard_error);
  return metrics;
}

void SampleSums::Add(const ScoredGroup& group) {
  for (const v1::ScoredCompletion& scored : group.completions) {
    const v1::Score& score = scored.score();
    if (score.outcome() != v1::OUTCOME_SCORED) ++outcomes_["outcomes/" + OutcomeName(score.outcome())];
    if (score.excluded()) continue;
    ++num_samples_;
    num_lengths_ += scored.completion().ids_size() > 0;
    length_sum_ += static_cast<double>(CompletionLength(scored.completion()));
    num_clipped_ += scored.completion().finish_reason() == v1::FINISH_REASON_LENGTH;
    reward_sum_ += score.value();
    for (const v1::RuleScore& rule : score.rules()) rule_sums_[metric::RuleMean(rule.name())] += rule.value();
    if (const v1::RuleScore* const format = FindRule(score, format_rule_); format != nullptr) {
      ++num_with_format_;
      format_sum_ += format->value();
    }
  }
}

std::map<std::string, double> SampleSums::Metrics() const {
  std::map<std::string, double> metrics = outcomes_;
  if (num_samples_ > 0) {
    if (num_lengths_ > 0) metrics[metric::kMeanCompletionTokens] = length_sum_ / num_lengths_;
    metrics[metric::kClippedRatio] = num_clipped_ / num_samples_;
    metrics[metric::kReward] = reward_sum_ / num_samples_;
    for (const auto& [name, sum] : rule_sums_) metrics[name] = sum / num_samples_;
  }
  if (num_with_format_ > 0) metrics[metric::kFormatRate] = format_sum_ / num_with_format_;
  return metrics;
}

}  // namespace grpo
