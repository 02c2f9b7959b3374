#include "common/wait_notice.h"

#include "gtest/gtest.h"

namespace grpo {
namespace {

TEST(WaitNotice, IsSaidAtOnceAndAgainEveryMinute) {
  FakeClock clock;
  WaitNotice notice(clock);
  int said = 0;
  for (int second = 0; second < 150; ++second) {
    if (notice.Due()) ++said;
    clock.Advance(absl::Seconds(1));
  }
  EXPECT_EQ(said, 3) << "after 0, 60 and 120 seconds";
}

TEST(WaitNotice, TellsHowLongTheWaitHasLastedOnceThatIsLong) {
  FakeClock clock;
  WaitNotice notice(clock);
  EXPECT_EQ(notice.For(), "");
  EXPECT_TRUE(notice.Due());
  clock.Advance(absl::Seconds(59));
  EXPECT_EQ(notice.For(), "");
  clock.Advance(absl::Milliseconds(61'400));
  EXPECT_EQ(notice.For(), " for 2m");
}

TEST(WaitNotice, AWaitThatIsOverIsForgotten) {
  FakeClock clock;
  WaitNotice notice(clock);
  EXPECT_FALSE(notice.End()) << "there was none";
  EXPECT_TRUE(notice.Due());
  EXPECT_FALSE(notice.Due());
  clock.Advance(absl::Minutes(2));
  EXPECT_TRUE(notice.End());
  EXPECT_EQ(notice.For(), "");
  EXPECT_TRUE(notice.Due()) << "the next one is said at once, too";
}

}  // namespace
}  // namespace grpo
