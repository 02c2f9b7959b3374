#include "rollout/endpoint/retry_policy.h"

#include "common/status_testing.h"

namespace grpo {
namespace {

TEST(RetryPolicy, DoublesUpToItsLongest) {
  const RetryPolicy policy = {.first = absl::Seconds(1), .longest = absl::Seconds(10)};
  EXPECT_EQ(policy.Delay(1, {}, 0), absl::Seconds(1));
  EXPECT_EQ(policy.Delay(2, {}, 0), absl::Seconds(2));
  EXPECT_EQ(policy.Delay(4, {}, 0), absl::Seconds(8));
  EXPECT_EQ(policy.Delay(5, {}, 0), absl::Seconds(10));
  EXPECT_EQ(policy.Delay(1000000, {}, 0), absl::Seconds(10));
}

TEST(RetryPolicy, IsSpreadOverHalfOfItself) {
  const RetryPolicy policy = {.first = absl::Seconds(4), .longest = absl::Seconds(10)};
  EXPECT_EQ(policy.Delay(1, {}, 0.5), absl::Seconds(3));
  EXPECT_GT(policy.Delay(1, {}, 0.999), absl::Seconds(2));
}

TEST(RetryPolicy, IsNeverShorterThanWhatTheServerAskedFor) {
  const RetryPolicy policy = {.first = absl::Seconds(4), .longest = absl::Seconds(10)};
  EXPECT_EQ(policy.Delay(1, absl::Seconds(77), 0.5), absl::Seconds(77));
  EXPECT_EQ(policy.Delay(1, absl::ZeroDuration(), 0.5), absl::Seconds(3));
  EXPECT_EQ(policy.Delay(1, absl::Hours(1000), 0.5), absl::Hours(1));
}

TEST(RetryAfter, IsSecondsOrADateAgainstTheAnswersOwn) {
  EXPECT_EQ(ParseRetryAfter("7", ""), absl::Seconds(7));
  EXPECT_EQ(ParseRetryAfter("0.25", ""), absl::Milliseconds(250));
  EXPECT_EQ(ParseRetryAfter("Wed, 21 Oct 2026 07:28:30 GMT", "Wed, 21 Oct 2026 07:28:00 GMT"), absl::Seconds(30));
  EXPECT_EQ(ParseRetryAfter("Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 2026 07:29:00 GMT"), absl::ZeroDuration());
}

TEST(RetryAfter, IsNothingWhereItIsAbsentOrMeansNothing) {
  for (const char* text : {"", "soon", "-3", "nan", "inf", "1e300"}) {
    EXPECT_FALSE(ParseRetryAfter(text, "Wed, 21 Oct 2026 07:28:00 GMT").has_value()) << text;
  }
  EXPECT_FALSE(ParseRetryAfter("Wed, 21 Oct 2026 07:28:30 GMT", "").has_value());
}

}  // namespace
}  // namespace grpo
