// What samples say about a policy. Samples that were excluded (Score.excluded: our own failure, or the profile says so)
// are in no mean; they are counted. Links no torch.
#ifndef GRPO_TRAINER_STAGE_EVALUATION_H_
#define GRPO_TRAINER_STAGE_EVALUATION_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "coordinator/scored_group.h"

namespace grpo {

// The samples of one problem that count, in the order in which they were sampled.
struct ProblemSamples {
  struct Sample {
    // accuracy_rule gave 1.
    bool solved = false;
    // What the answer was read from; majority votes count equal texts.
    std::string extracted;
  };
  std::vector<Sample> samples;
};

// Unbiased estimate of the probability that one of k samples is right when c of n were: 1 - C(n-c, k) / C(n, k),
// arXiv:2107.03374 eq. 1. 1 <= k <= n. 0 <= c <= n. Computed as a product, without large binomials.
double PassAtK(int64_t num_samples, int64_t num_solved, int64_t k);

// Over problems of which n samples each were asked for; every problem counts alike, by its own samples:
//   pass_at_1, and pass_at_k for k = 2, 4, 8, ... up to n, over the problems with at least k samples;  maj_at_<n>: the
//   most frequent answer is right (of equally frequent ones the first sampled counts; an empty answer has no vote);
//   pass_at_1_ci_low, pass_at_1_ci_high: 95 % interval, normal approximation with the problem as the unit (samples of
//   one problem are not independent), within [0, 1].
// Problems without a sample are in none of them, and a mean over no problem is left out. With one problem the interval
// is [0, 1]. Pure.
std::map<std::string, double> AccuracyMetrics(const std::vector<ProblemSamples>& problems, int64_t samples_per_problem);

// Sums over sampled groups. One thread.
class SampleSums {
 public:
  // `format_rule` is the rule whose mean is format_rate.
  explicit SampleSums(std::string format_rule) : format_rule_(std::move(format_rule)) {}

  // Counts all samples of the group.
  void Add(const ScoredGroup& group);

  // mean_completion_tokens and clipped_ratio (cut off by the length limit), reward, rewards/<rule>/mean, and
  // format_rate when the profile has the rule: means over the samples that count. outcomes/<outcome>: numbers of all
  // samples, of the outcomes that occurred beside "scored".
  std::map<std::string, double> Metrics() const;

 private:
  const std::string format_rule_;
  // Completions that have token ids; what samples may know none.
  double num_lengths_ = 0;
  double num_samples_ = 0, length_sum_ = 0, num_clipped_ = 0, reward_sum_ = 0;
  // By metric: sums over the samples that count; numbers of all samples.
  std::map<std::string, double> rule_sums_, outcomes_;
  // Of the samples that count and have the rule.
  double format_sum_ = 0, num_with_format_ = 0;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_STAGE_EVALUATION_H_
