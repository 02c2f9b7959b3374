#include "rollout/endpoint/rate_limiter.h"

#include "common/clock.h"
#include "common/status_testing.h"

namespace grpo {
namespace {

// How many requests begin from now to `end` when each begins as soon as it may.
int64_t Count(RateLimiter& limiter, FakeClock& clock, absl::Duration end) {
  int64_t count = 0;
  while (std::max(limiter.NextStart(), clock.Now()) < end) {
    clock.Advance(std::max(absl::ZeroDuration(), limiter.NextStart() - clock.Now()));
    limiter.Start(clock.Now());
    ++count;
  }
  return count;
}

TEST(RateLimiter, BeginsSoManyInEveryMinuteEvenly) {
  FakeClock clock;
  RateLimiter limiter(120);
  EXPECT_EQ(Count(limiter, clock, absl::Seconds(10)), 20);
  EXPECT_EQ(Count(limiter, clock, absl::Seconds(11)), 2);
}

TEST(RateLimiter, APauseIsNotMadeUpForByABurst) {
  FakeClock clock;
  RateLimiter limiter(60);
  limiter.Start(clock.Now());
  clock.Advance(absl::Minutes(5));
  EXPECT_LE(limiter.NextStart(), clock.Now());
  limiter.Start(clock.Now());
  EXPECT_EQ(limiter.NextStart(), clock.Now() + absl::Seconds(1));
}

TEST(RateLimiter, WithoutALimitEverythingBeginsAtOnce) {
  FakeClock clock;
  RateLimiter limiter(0);
  for (int i = 0; i < 100; ++i) {
    EXPECT_LE(limiter.NextStart(), clock.Now());
    limiter.Start(clock.Now());
  }
}

TEST(RateLimiter, NothingBeginsBeforeWhatTheServerAskedFor) {
  FakeClock clock;
  RateLimiter limiter(0);
  limiter.HoldUntil(clock.Now() + absl::Seconds(9));
  limiter.HoldUntil(clock.Now() + absl::Seconds(3));
  EXPECT_EQ(limiter.NextStart(), clock.Now() + absl::Seconds(9));
  clock.Advance(absl::Seconds(9));
  EXPECT_LE(limiter.NextStart(), clock.Now());
}

}  // namespace
}  // namespace grpo
