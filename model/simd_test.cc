#include "model/simd.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace grpo::simd {
namespace {

// One vector's work, for the machine's own instruction set.
GRPO_SIMD_CLONES void ExpOf(const float* x, float* y) {
  Store(y, Exp(Load(x, kLanes)), kLanes);
}
GRPO_SIMD_CLONES void LogOf(const float* x, float* y) {
  Store(y, Log(Load(x, kLanes)), kLanes);
}

using Kernel = void (*)(const float* x, float* y);

float First(Kernel kernel, float value) {
  std::vector<float> x(kLanes, value), y(kLanes);
  kernel(x.data(), y.data());
  return y[0];
}

// The largest error over the xs in units in the last place of the exact result.
double LargestError(Kernel kernel, double (*exact)(double), const std::vector<float>& xs) {
  double largest = 0;
  std::vector<float> y(kLanes);
  for (size_t i = 0; i + kLanes <= xs.size(); i += kLanes) {
    kernel(&xs[i], y.data());
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const double expected = exact(xs[i + lane]);
      const float rounded = std::abs(static_cast<float>(expected));
      const double unit = std::nextafter(rounded, std::numeric_limits<float>::infinity()) - rounded;
      largest = std::max(largest, std::abs(y[lane] - expected) / unit);
    }
  }
  return largest;
}

TEST(SimdTest, ExpIsWithinTwoUnitsInTheLastPlace) {
  std::vector<float> xs;
  for (int64_t i = 0; i < 160000; ++i) xs.push_back(-87.0f + 175.0f * static_cast<float>(i) / 160000);
  EXPECT_LE(LargestError(&ExpOf, std::exp, xs), 2);
}

TEST(SimdTest, LogIsWithinTwoUnitsInTheLastPlaceFromTheSmallestNumberToTheLargest) {
  std::vector<float> xs;
  for (int64_t i = 0; i < 160000; ++i) xs.push_back(std::exp(-87.0f + 175.0f * static_cast<float>(i) / 160000));
  // Around 1, where the logarithm is small.
  for (int64_t i = 0; i < 160000; ++i) xs.push_back(0.5f + static_cast<float>(i) / 160000);
  EXPECT_LE(LargestError(&LogOf, std::log, xs), 2);
}

TEST(SimdTest, TheEndsOfTheRangesAndNanAreAsTheHeaderSays) {
  const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(First(&ExpOf, 0), 1);
  EXPECT_EQ(First(&LogOf, 1), 0);
  EXPECT_EQ(First(&ExpOf, -infinity), First(&ExpOf, -87));
  EXPECT_EQ(First(&LogOf, 0), First(&LogOf, std::numeric_limits<float>::min()));
  EXPECT_NEAR(First(&LogOf, 0), -87.3365, 1e-3);
  EXPECT_TRUE(std::isnan(First(&ExpOf, nan)));
  EXPECT_TRUE(std::isnan(First(&LogOf, nan)));
}

}  // namespace
}  // namespace grpo::simd
