#include "tools/grpoctl/bench/reward_bench.h"

#include "common/status_testing.h"
#include "gtest/gtest.h"

namespace grpo {
namespace {

TEST(RewardBenchTest, CountsEveryCompletionOnceWhateverTheThreads) {
  for (const int64_t threads : {1, 3}) {
    ASSERT_OK_AND_ASSIGN(const BenchReport report,
                         BenchReward({.prompts = 5, .group = 7, .threads = threads, .seed = 1, .repeats = 2}));
    EXPECT_EQ(report.count, 35);
    EXPECT_EQ(report.unit, "completions");
    ASSERT_EQ(report.repeats.size(), 2u);
    for (const BenchRepeat& repeat : report.repeats) {
      EXPECT_GT(repeat.seconds, 0);
      EXPECT_LE(repeat.phases.at("score"), repeat.seconds);
    }
    // Some of the answers are right and some are not.
    EXPECT_GT(report.figures["paid_in_full_frac"], 0);
    EXPECT_LT(report.figures["paid_in_full_frac"], 1);
    EXPECT_LE(report.figures["median_microseconds"], report.figures["p99_microseconds"]);
    EXPECT_GT(report.peak_memory_bytes, 0);
  }
}

TEST(RewardBenchTest, TheSameSeedScoresTheSame) {
  const auto paid = [](uint64_t seed) {
    return BenchReward({.prompts = 8, .group = 8, .threads = 1, .seed = seed, .repeats = 1})
        ->figures["paid_in_full_frac"]
        .get<double>();
  };
  EXPECT_EQ(paid(3), paid(3));
}

}  // namespace
}  // namespace grpo
