#include "trainer/schedule.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace grpo {
namespace {

TEST(ScheduleTest, AConstantStays) {
  const Schedule constant = Schedule::Constant(3);
  for (const double done : {0.0, 0.5, 1.0}) EXPECT_EQ(constant.At(done), 3);
  // An end that no shape asks for says nothing.
  EXPECT_EQ((Schedule{.start = 2, .end = 9}.At(1)), 2);
  EXPECT_TRUE((Schedule{.start = 2, .end = 9}.Stays(2)));
  EXPECT_FALSE((Schedule{.start = 2, .end = 9, .shape = "linear"}.Stays(2)));
  EXPECT_TRUE((Schedule{.start = 2, .end = 2, .shape = "linear"}.Stays(2)));
}

TEST(ScheduleTest, ALineReachesItsEndInItsShareOfTheStage) {
  const Schedule line = {.start = 4, .end = 1, .shape = "linear", .over_frac = 0.5};
  EXPECT_DOUBLE_EQ(line.At(0), 4);
  EXPECT_DOUBLE_EQ(line.At(0.25), 2.5);
  EXPECT_DOUBLE_EQ(line.At(0.5), 1);
  EXPECT_DOUBLE_EQ(line.At(0.9), 1);
}

TEST(ScheduleTest, ACosineIsSlowAtBothEndsAndHalfWayInTheMiddle) {
  const Schedule cosine = {.start = 4, .end = 2, .shape = "cosine"};
  EXPECT_DOUBLE_EQ(cosine.At(0), 4);
  EXPECT_DOUBLE_EQ(cosine.At(0.5), 3);
  EXPECT_DOUBLE_EQ(cosine.At(1), 2);
  EXPECT_GT(cosine.At(0.1), 3.9);
  EXPECT_LT(cosine.At(0.9), 2.1);
}

TEST(ScheduleTest, AWayOfNoLengthIsAtItsEndAtOnce) {
  EXPECT_EQ((Schedule{.start = 4, .end = 2, .shape = "linear", .over_frac = 0}.At(0)), 2);
}

TEST(ScheduleTest, PartsOfAScheduleAreItsPartsAtEveryStep) {
  for (const char* const shape : {"constant", "linear", "cosine"}) {
    const Schedule share = {.start = 0.7, .end = 0.2, .shape = shape, .over_frac = 0.8};
    for (const double done : {0.0, 0.3, 0.8, 1.0}) {
      EXPECT_DOUBLE_EQ(share.Times(3).At(done), 3 * share.At(done));
      EXPECT_DOUBLE_EQ(share.OneMinus(2).At(done), 2 * (1 - share.At(done)));
    }
  }
}

}  // namespace
}  // namespace grpo
