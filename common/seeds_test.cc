#include "common/seeds.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <vector>

#include "gtest/gtest.h"

namespace grpo {
namespace {

// A run is resumed by another build: these values may never change.
TEST(SeedsTest, KnownValuesStay) {
  // First output of the reference SplitMix64 generator seeded with 0, and with 1234567.
  EXPECT_EQ(Mix64(0), 0xe220a8397b1dcdafULL);
  EXPECT_EQ(Mix64(1234567), 6457827717110365317ULL);
  // Published FNV-1a 64-bit test vectors.
  EXPECT_EQ(HashName(""), 0xcbf29ce484222325ULL);
  EXPECT_EQ(HashName("a"), 0xaf63dc4c8601ec8cULL);
  EXPECT_EQ(HashName("foobar"), 0x85944171f73967e8ULL);
}

TEST(SeedsTest, EverySampleOfARunHasItsOwnSeed) {
  std::set<uint64_t> seen;
  for (uint64_t run : {0, 1}) {
    for (const char* stage : {"base", "r1_zero"}) {
      for (int64_t group = 0; group < 200; ++group) {
        const uint64_t seed = GroupSeed(run, stage, group);
        EXPECT_TRUE(seen.insert(seed).second);
        for (int32_t sample = 0; sample < 16; ++sample) EXPECT_TRUE(seen.insert(SampleSeed(seed, sample)).second);
      }
    }
  }
}

TEST(SeedsTest, UniformFillsItsCellsEvenlyAndStaysBelowOne) {
  constexpr int kCells = 16, kDraws = 160'000;
  for (uint64_t seed : {0, 1, 2}) {
    std::vector<int> counts(kCells, 0);
    for (int i = 0; i < kDraws; ++i) {
      const double u = UniformAt(seed, i);
      ASSERT_GE(u, 0.0);
      ASSERT_LT(u, 1.0);
      ++counts[static_cast<int>(u * kCells)];
    }
    double chi_squared = 0;
    for (const int count : counts) chi_squared += (count - 10'000.0) * (count - 10'000.0) / 10'000.0;
    // 15 degrees of freedom: above 37.7 with probability 0.001.
    EXPECT_LT(chi_squared, 37.7) << "seed " << seed;
  }
}

TEST(SeedsTest, RngIsItsSeedsDrawsInOrder) {
  Rng rng(42);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(rng.Uniform(), UniformAt(42, i));
}

TEST(SeedsTest, BelowReachesBothEndsAndNoMore) {
  Rng rng(3);
  std::set<int64_t> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(rng.Below(7));
  EXPECT_EQ(seen, (std::set<int64_t>{0, 1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(rng.Below(1), 0);
}

TEST(SeedsTest, ShuffleIsAPermutationFixedByItsSeed) {
  std::vector<int> sorted(100);
  std::iota(sorted.begin(), sorted.end(), 0);
  std::vector<int> a = sorted, b = sorted, c = sorted;
  Shuffle(a, 1);
  Shuffle(b, 1);
  Shuffle(c, 2);
  EXPECT_EQ(a, b);
  EXPECT_NE(a, c);
  EXPECT_NE(a, sorted);
  std::sort(a.begin(), a.end());
  EXPECT_EQ(a, sorted);
  std::vector<int> none;
  Shuffle(none, 1);
}

TEST(SeedsTest, ShuffleReachesEveryOrderOfThreeEvenly) {
  std::vector<int> counts(27, 0);
  for (uint64_t seed = 0; seed < 6000; ++seed) {
    std::vector<int> v = {0, 1, 2};
    Shuffle(v, seed);
    ++counts[v[0] * 9 + v[1] * 3 + v[2]];
  }
  int orders = 0;
  for (const int count : counts) {
    if (count == 0) continue;
    ++orders;
    // 1000 expected, standard deviation 29.
    EXPECT_NEAR(count, 1000, 130);
  }
  EXPECT_EQ(orders, 6);
}

}  // namespace
}  // namespace grpo
