#include "trainer/algorithm/advantage.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace grpo {
namespace {

using ::testing::DoubleNear;
using ::testing::Each;
using ::testing::ElementsAre;

// Hand-worked: mean 0.25, ddof-1 deviation sqrt((0.5625 + 3 * 0.0625) / 3) = 0.5.
TEST(GroupAdvantagesTest, OneRightOfFourMatchesTrl) {
  EXPECT_THAT(GroupAdvantages({1, 0, 0, 0}, 1e-4),
              ElementsAre(DoubleNear(0.75 / 0.5001, 1e-12), DoubleNear(-0.25 / 0.5001, 1e-12),
                          DoubleNear(-0.25 / 0.5001, 1e-12), DoubleNear(-0.25 / 0.5001, 1e-12)));
}

TEST(GroupAdvantagesTest, WithoutScalingOnlyTheMeanIsTakenAway) {
  EXPECT_THAT(GroupAdvantages({1, 0, 0, 0}, std::nullopt), ElementsAre(0.75, -0.25, -0.25, -0.25));
}

TEST(GroupAdvantagesTest, EqualRewardsGiveExactlyZeroEvenWhereTheirMeanRounds) {
  EXPECT_THAT(GroupAdvantages(std::vector<std::optional<double>>(7, 0.1), 1e-4), Each(0.0));
  EXPECT_THAT(GroupAdvantages(std::vector<std::optional<double>>(7, 0.1), 0.0), Each(0.0));
}

TEST(GroupAdvantagesTest, AnAbsentRewardIsLeftOutOfMeanAndDeviation) {
  EXPECT_THAT(GroupAdvantages({1, std::nullopt, 0}, std::nullopt), ElementsAre(0.5, 0.0, -0.5));
  EXPECT_THAT(GroupAdvantages({1, std::nullopt, std::nullopt}, 1e-4), Each(0.0));
  EXPECT_THAT(GroupAdvantages({std::nullopt, std::nullopt}, 1e-4), Each(0.0));
}

TEST(GroupAdvantagesTest, AdvantagesOfAGroupSumToZero) {
  const std::vector<double> advantages = GroupAdvantages({1.1, 0.3, -2, 0.7, 0}, 1e-4);
  double sum = 0;
  for (const double advantage : advantages) sum += advantage;
  EXPECT_NEAR(sum, 0, 1e-12);
}

}  // namespace
}  // namespace grpo
