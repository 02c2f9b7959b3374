#include "common/float16.h"

#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace grpo {
namespace {

constexpr uint16_t kInfinite = 0x7c00, kSign = 0x8000;

// What the bits mean, by the definition.
double Meaning(uint16_t half) {
  const int exponent = half >> 10 & 0x1f, fraction = half & 0x3ff;
  const double magnitude = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return (half & kSign) != 0 ? -magnitude : magnitude;
}

TEST(Float16Test, EveryFiniteHalfIsReadExactlyAndWrittenBack) {
  for (uint16_t magnitude = 0; magnitude < kInfinite; ++magnitude) {
    for (const uint16_t sign : {uint16_t{0}, kSign}) {
      const auto half = static_cast<uint16_t>(magnitude | sign);
      ASSERT_EQ(static_cast<double>(FromFloat16(half)), Meaning(half)) << half;
      ASSERT_EQ(ToFloat16(FromFloat16(half)), half);
    }
  }
}

// Between any two neighbours: below the middle, in it, and above it.
TEST(Float16Test, RoundsToTheNearestAndTiesToTheEven) {
  for (uint16_t lower = 0; lower + 1 < kInfinite; ++lower) {
    const uint16_t upper = lower + 1, even = lower % 2 == 0 ? lower : upper;
    const auto middle = static_cast<float>((Meaning(lower) + Meaning(upper)) / 2);
    ASSERT_EQ(ToFloat16(middle), even) << lower;
    ASSERT_EQ(ToFloat16(std::nextafter(middle, 0.0f)), lower) << lower;
    ASSERT_EQ(ToFloat16(std::nextafter(middle, 1e9f)), upper) << lower;
    ASSERT_EQ(ToFloat16(-middle), even | kSign) << lower;
  }
}

TEST(Float16Test, WhatIsTooLargeIsInfiniteAndWhatIsNoNumberStaysNone) {
  EXPECT_EQ(ToFloat16(kMaxFloat16), kInfinite - 1);
  EXPECT_EQ(ToFloat16(65519.0f), kInfinite - 1);
  EXPECT_EQ(ToFloat16(65520.0f), kInfinite);
  EXPECT_EQ(ToFloat16(-1e30f), kInfinite | kSign);
  EXPECT_EQ(FromFloat16(kInfinite | kSign), -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(FromFloat16(ToFloat16(std::nanf("")))));
}

// Of a log-probability: a relative error of 2^-11 where it is normal.
TEST(Float16Test, ALogProbabilityLosesLessThanAThousandthOfItself) {
  for (float logprob = -1e-4f; logprob > -60000; logprob *= 1.01f)
    ASSERT_LE(std::abs(FromFloat16(ToFloat16(logprob)) - logprob), -logprob * 0x1p-11f) << logprob;
}

}  // namespace
}  // namespace grpo
