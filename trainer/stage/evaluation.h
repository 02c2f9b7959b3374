// What samples say about a policy. Links no torch.
#ifndef GRPO_TRAINER_STAGE_EVALUATION_H_
#define GRPO_TRAINER_STAGE_EVALUATION_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace grpo {

// The samples of one problem.
struct ProblemSamples {
  struct Sample {
    bool solved = false;
    // What the answer was read from; majority votes count equal texts.
    std::string extracted;
  };
  std::vector<Sample> samples;
};

// Unbiased estimate of the probability that one of k samples is right when c of n were: 1 - C(n-c, k) / C(n, k),
// arXiv:2107.03374 eq. 1. 1 <= k <= n.
double PassAtK(int64_t num_samples, int64_t num_solved, int64_t k);

// Over problems with the same number n of samples each:
//   pass_at_1, and pass_at_k for k = 2, 4, 8, ... up to n;  maj_at_<n>: the most frequent answer is right (of equally
//   frequent ones the first sampled counts; an empty answer has no vote);  pass_at_1_ci_low, pass_at_1_ci_high: 95 %
//   interval, normal approximation with the problem as the unit (samples of one problem are not independent), within
//   [0, 1].
// Empty for no problems.
std::map<std::string, double> AccuracyMetrics(const std::vector<ProblemSamples>& problems);

}  // namespace grpo

#endif  // GRPO_TRAINER_STAGE_EVALUATION_H_
