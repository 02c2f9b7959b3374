// `grpoctl bench reward`: how many completions a second the default rules score. Links no torch.
#ifndef GRPO_TOOLS_GRPOCTL_BENCH_REWARD_BENCH_H_
#define GRPO_TOOLS_GRPOCTL_BENCH_REWARD_BENCH_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "tools/grpoctl/bench/report.h"

namespace grpo {

struct RewardBenchOptions {
  // Completions are prompts x group.
  int64_t prompts = 256, group = 16;
  int64_t threads = 1;
  uint64_t seed = 0;
  // Timed, after one that is not.
  int64_t repeats = 5;
};

// Scores made-up completions with DefaultRewardProfile, without a server: of each group's answers some are right,
// wrong, written in LaTeX, in words, or missing. The one phase is "score"; figures: the share that was paid in full,
// and microseconds of the median and 99th percentile completion of the last repeat.
absl::StatusOr<BenchReport> BenchReward(const RewardBenchOptions& options);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_BENCH_REWARD_BENCH_H_
