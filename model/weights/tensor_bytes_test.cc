#include "model/weights/tensor_bytes.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

namespace grpo {
namespace {

// The values' bytes after CopyValues, from and to addresses that are not aligned; what lies behind them is untouched.
std::string Copied(const at::Tensor& values, at::ScalarType to_dtype) {
  const size_t size = c10::elementSize(to_dtype) * values.numel();
  const std::string from = "x" + std::string(BytesOf(values));
  std::string to(size + 2, '#');
  CopyValues(from.data() + 1, values.scalar_type(), to.data() + 1, to_dtype, values.numel());
  EXPECT_EQ(to.front(), '#');
  EXPECT_EQ(to.back(), '#');
  return to.substr(1, size);
}

at::Tensor FromBits(const std::vector<uint32_t>& bits) {
  at::Tensor values = at::empty({static_cast<int64_t>(bits.size())}, at::kFloat);
  std::memcpy(values.mutable_data_ptr(), bits.data(), values.nbytes());
  return values;
}

// Every upper half (each exponent and sign, infinity and the subnormal numbers among them) with lower halves around
// the tie: what the sender rounds has the bits that the receiver's torch would have made.
TEST(CopyValuesTest, RoundsToTheBitsOfTorch) {
  std::vector<uint32_t> bits;
  for (uint32_t upper = 0; upper < 0x10000; ++upper) {
    for (const uint32_t lower : {0x0u, 0x1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      const uint32_t word = upper << 16 | lower;
      if ((word & 0x7fffffffu) <= 0x7f800000u) bits.push_back(word);
    }
  }
  const at::Tensor values = FromBits(bits);
  const at::Tensor rounded = values.to(at::kBFloat16);
  EXPECT_TRUE(Copied(values, at::kBFloat16) == BytesOf(rounded));
  EXPECT_TRUE(Copied(rounded, at::kFloat) == BytesOf(rounded.to(at::kFloat)));
  EXPECT_TRUE(Copied(values, at::kFloat) == BytesOf(values));
}

TEST(CopyValuesTest, WhatIsNoNumberStaysNone) {
  const at::Tensor values = FromBits({0x7f800001u, 0x7fc00000u, 0xffffffffu, 0xff80ffffu, 0x7fffffffu});
  at::Tensor rounded = at::empty({5}, at::kBFloat16);
  CopyValues(values.const_data_ptr(), at::kFloat, rounded.mutable_data_ptr(), at::kBFloat16, 5);
  EXPECT_TRUE(rounded.isnan().all().item<bool>());
}

TEST(CopyValuesTest, AnyNumberOfValuesIsCopied) {
  for (int64_t count = 0; count <= 70; ++count) {
    const at::Tensor values = at::randn({count});
    const at::Tensor rounded = values.to(at::kBFloat16);
    EXPECT_TRUE(Copied(values, at::kBFloat16) == BytesOf(rounded)) << count;
    EXPECT_TRUE(Copied(rounded, at::kFloat) == BytesOf(rounded.to(at::kFloat))) << count;
    EXPECT_TRUE(Copied(rounded, at::kBFloat16) == BytesOf(rounded)) << count;
  }
}

TEST(AllFiniteTest, FindsInfinitiesAndWhatIsNoNumberInEveryDtype) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    const double largest = dtype == at::kHalf ? 65504 : 3e38;
    const at::Tensor values = at::full({70}, -largest, dtype);
    EXPECT_TRUE(AllFinite(BytesOf(values), dtype)) << dtype;
    for (const double bad : {HUGE_VAL, -HUGE_VAL, std::nan("")}) {
      for (const int64_t place : {0, 37, 69}) {
        const at::Tensor one_is_bad = values.clone();
        one_is_bad[place].fill_(bad);
        EXPECT_FALSE(AllFinite(BytesOf(one_is_bad), dtype)) << dtype << " " << bad << " " << place;
      }
    }
  }
}

TEST(ThreadsForBytesTest, FewBytesAreReadOnOneThread) {
  at::set_num_threads(4);
  EXPECT_EQ(ThreadsForBytes(0), 1);
  EXPECT_EQ(ThreadsForBytes(1000000), 1);
  EXPECT_EQ(ThreadsForBytes(int64_t{9} << 20), 2);
  EXPECT_EQ(ThreadsForBytes(int64_t{1} << 40), 4);
}

}  // namespace
}  // namespace grpo
