#include "common/lap_times.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace grpo {
namespace {

using ::testing::DoubleEq;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

TEST(LapTimesTest, EveryMomentBelongsToOnePhase) {
  FakeClock clock;
  LapTimes times(clock);
  clock.Advance(absl::Seconds(100));
  times.Start();
  clock.Advance(absl::Seconds(2));
  times.Lap("forward");
  clock.Advance(absl::Seconds(3));
  times.Lap("backward");
  clock.Advance(absl::Seconds(0.5));
  times.Lap("forward");
  EXPECT_THAT(times.seconds(), ElementsAre(Pair("backward", DoubleEq(3)), Pair("forward", DoubleEq(2.5))));
}

TEST(LapTimesTest, WhatIsBeforeAStartBelongsToNone) {
  FakeClock clock;
  LapTimes times(clock);
  times.Start();
  clock.Advance(absl::Seconds(1));
  times.Lap("a");
  clock.Advance(absl::Seconds(7));
  times.Start();
  clock.Advance(absl::Seconds(1));
  times.Lap("a");
  EXPECT_THAT(times.seconds(), ElementsAre(Pair("a", DoubleEq(2))));
  times.Clear();
  EXPECT_THAT(times.seconds(), IsEmpty());
}

}  // namespace
}  // namespace grpo
