#include "trainer/status/stall_detector.h"

#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::Duration At(int64_t seconds) {
  return absl::Seconds(seconds);
}

TEST(StallDetectorTest, NamesEachRankItsPhaseAndWhatItWaitsFor) {
  StallDetector detector(absl::Seconds(30));
  StallDetector::Observation seen{.ranks = {{"all_reduce", 7}, {"forward_backward 1/3", 5}}, .num_steps = 3};
  detector.Look(seen, At(0));
  detector.Look(seen, At(29));
  EXPECT_EQ(detector.reason(), "");
  EXPECT_THAT(detector.phase_ages(), ElementsAre(At(29), At(29)));
  detector.Look(seen, At(31));
  EXPECT_EQ(detector.reason(),
            "nothing has moved for longer than 30s: rank 0 waits for the other ranks (all_reduce); rank 1 is at work "
            "(forward_backward 1/3)");
  // The same phase said again is a move.
  ++seen.ranks[1].sequence;
  detector.Look(seen, At(40));
  EXPECT_EQ(detector.reason(), "");
  EXPECT_THAT(detector.phase_ages(), ElementsAre(At(40), At(0)));
}

TEST(StallDetectorTest, SlowRolloutsAndPausesAreNoStall) {
  StallDetector detector(absl::Seconds(10));
  StallDetector::Observation seen{.ranks = {{"wait_rollouts", 1}}};
  for (int second = 0; second < 100; second += 5) {
    ++seen.progress;  // tokens
    detector.Look(seen, At(second));
    EXPECT_EQ(detector.reason(), "");
  }
  seen.excused = true;
  detector.Look(seen, At(500));
  EXPECT_EQ(detector.reason(), "");
  seen.excused = false;
  detector.Look(seen, At(505));
  EXPECT_EQ(detector.reason(), "");
  detector.Look(seen, At(511));
  EXPECT_THAT(detector.reason(), HasSubstr("rank 0 waits for the rollout workers (wait_rollouts)"));
}

// A worker that only keeps its leases alive was not named.
TEST(StallDetectorTest, NamesWhoHoldsTheGroupsThatEverybodyWaitsFor) {
  StallDetector detector(absl::Seconds(3));
  const StallDetector::Observation seen{.ranks = {{"wait_rollouts", 1}}, .holders = "hog (8)"};
  detector.Look(seen, At(0));
  detector.Look(seen, At(3));
  EXPECT_THAT(detector.reason(),
              HasSubstr("rank 0 waits for the rollout workers (wait_rollouts); groups are with hog (8)"));
}

TEST(StallDetectorTest, StepsThatAlwaysTakeLongAreNoStall) {
  StallDetector detector(absl::Seconds(10));
  StallDetector::Observation seen{.ranks = {{"forward_backward 1/1", 1}}};
  for (int step = 0; step <= 5; ++step) {
    seen.num_steps = step;
    detector.Look(seen, At(8 * step));
  }
  detector.Look(seen, At(40 + 79));  // ten times the median of 8 s
  EXPECT_EQ(detector.reason(), "");
  detector.Look(seen, At(40 + 80));
  EXPECT_THAT(detector.reason(), HasSubstr("nothing has moved for longer than 1m20s"));
}

}  // namespace
}  // namespace grpo
