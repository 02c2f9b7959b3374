#include "trainer/stage/difficulty.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace grpo {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(DifficultyTest, KeepsOfEachBandItsShare) {
  const std::vector<DifficultyBand> bands = {{0, 0}, {0.5, 1}, {1, 0.25}};
  int num_kept = 0;
  for (int i = 0; i < 4000; ++i) {
    const std::string id = absl::StrCat("line/", i);
    EXPECT_FALSE(KeepsProblem(bands, 0, id, 5));
    EXPECT_TRUE(KeepsProblem(bands, 0.001, id, 5));
    EXPECT_TRUE(KeepsProblem(bands, 0.5, id, 5));
    num_kept += KeepsProblem(bands, 0.75, id, 5);
  }
  // Six standard deviations.
  EXPECT_NEAR(num_kept, 1000, 165);
}

TEST(DifficultyTest, WhichAreKeptDependsOnSeedAndProblemAlone) {
  const std::vector<DifficultyBand> half = {{1, 0.5}};
  int num_other = 0;
  for (int i = 0; i < 100; ++i) {
    const std::string id = absl::StrCat(i);
    EXPECT_EQ(KeepsProblem(half, 0.5, id, 5), KeepsProblem(half, 1, id, 5));
    num_other += KeepsProblem(half, 0.5, id, 5) != KeepsProblem(half, 0.5, id, 6);
  }
  EXPECT_GT(num_other, 10);
  EXPECT_TRUE(KeepsProblem({}, 0, "x", 5));
}

TEST(DifficultyTest, BandsRiseAndEndAtOne) {
  EXPECT_THAT(Conflicts({}), IsEmpty());
  EXPECT_THAT(Conflicts({{0.5, 1}, {1, 0}}), IsEmpty());
  EXPECT_THAT(Conflicts({{0.5, 1}, {0.5, 0}, {1, 0}}), SizeIs(1));
  EXPECT_THAT(Conflicts({{0.5, 1}}), SizeIs(1));
  EXPECT_EQ(Conflicts({{0.5, 1}})[0].key, "0.up_to");
}

}  // namespace
}  // namespace grpo
