// Attention of packed sequences and products with a result of another type, as the fake device computes them: against
// plain operations of the CPU. On a real device (device_under_test.h) the same calls are the device's own.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tests/device/device_under_test.h"

namespace grpo {
namespace {

constexpr int64_t kHeads = 4, kKvHeads = 2, kHeadDim = 8;
// Of numbers about 1 that bfloat16 rounds at the end.
constexpr double kTolerance = 2e-2;

at::Tensor RandomHeads(int64_t rows, int64_t heads) {
  return at::randn({rows, heads, kHeadDim}).to(at::kBFloat16);
}

at::Tensor Offsets(const std::vector<int64_t>& values) {
  return at::tensor(values).to(at::kInt).to(DeviceUnderTest());
}

// The last query sees the last key. [n, H, K] float32.
at::Tensor Causal(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const auto heads = [](const at::Tensor& rows) {  // [H, n, K]
    return rows.to(at::kFloat).repeat_interleave(kHeads / rows.size(1), 1).transpose(0, 1);
  };
  const int64_t num_q = q.size(0), num_k = k.size(0);
  const at::Tensor hidden = at::arange(num_k).unsqueeze(0) > at::arange(num_q).unsqueeze(1) + (num_k - num_q);
  const at::Tensor scores = at::matmul(heads(q), heads(k).transpose(1, 2)) / std::sqrt(static_cast<double>(kHeadDim));
  const at::Tensor seen = scores.masked_fill(hidden, -std::numeric_limits<float>::infinity());
  return at::matmul(at::softmax(seen, -1), heads(v)).transpose(0, 1);
}

double Difference(const at::Tensor& there, const at::Tensor& here) {
  return (there.detach().cpu().to(at::kFloat) - here.detach().to(at::kFloat)).abs().max().item<double>();
}

at::Tensor Flash(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const at::Tensor& begin_q,
                 const at::Tensor& begin_k, int64_t max_q, int64_t max_k, bool causal,
                 const std::optional<at::Tensor>& used = {}) {
  return std::get<0>(
      at::_flash_attention_forward(q, k, v, begin_q, begin_k, max_q, max_k, 0.0, causal, false, {}, {}, {}, used));
}

struct Leaves {
  explicit Leaves(at::Device device, const std::vector<at::Tensor>& from) {
    for (const at::Tensor& tensor : from) tensors.push_back(tensor.to(device).detach().clone().requires_grad_(true));
  }
  std::vector<at::Tensor> tensors;
};

TEST(FlashTest, PackedSequencesEqualOneAfterTheOtherWithTheirGradients) {
  // 5 rows that see themselves; 3 rows that go on from 4 keys.
  const std::vector<at::Tensor> numbers = {RandomHeads(8, kHeads), RandomHeads(12, kKvHeads),
                                           RandomHeads(12, kKvHeads)};
  const Leaves there(DeviceUnderTest(), numbers), here(at::kCPU, numbers);
  const at::Tensor out = Flash(there.tensors[0], there.tensors[1], there.tensors[2], Offsets({0, 5, 8}),
                               Offsets({0, 5, 12}), 5, 7, /*causal=*/true);
  const auto part = [&](int64_t i, int64_t begin, int64_t count) { return here.tensors[i].narrow(0, begin, count); };
  const at::Tensor expected = at::cat(
      {Causal(part(0, 0, 5), part(1, 0, 5), part(2, 0, 5)), Causal(part(0, 5, 3), part(1, 5, 7), part(2, 5, 7))});
  EXPECT_LT(Difference(out, expected), kTolerance);
  const at::Tensor d_out = at::randn(expected.sizes()).to(at::kBFloat16);
  (out * d_out.to(DeviceUnderTest())).sum().backward();
  (expected * d_out.to(at::kFloat)).sum().backward();
  for (size_t i = 0; i < numbers.size(); ++i) {
    EXPECT_LT(Difference(there.tensors[i].grad(), here.tensors[i].grad()), 3 * kTolerance) << "gradient " << i;
  }
}

TEST(FlashTest, DecodingSeesAsMuchOfEachSlotAsItHolds) {
  const at::NoGradGuard no_grad;
  constexpr int64_t kSlots = 3, kCapacity = 16;
  const at::Tensor q = RandomHeads(kSlots, kHeads), k = RandomHeads(kSlots * kCapacity, kKvHeads),
                   v = RandomHeads(kSlots * kCapacity, kKvHeads);
  const std::vector<int64_t> used = {3, 1, 9};
  const at::Device device = DeviceUnderTest();
  const at::Tensor out =
      Flash(q.to(device), k.to(device), v.to(device), Offsets({0, 1, 2, 3}),
            Offsets({0, kCapacity, 2 * kCapacity, 3 * kCapacity}), 1, kCapacity, /*causal=*/false, Offsets(used));
  for (int64_t slot = 0; slot < kSlots; ++slot) {
    const auto held = [&](const at::Tensor& cache) { return cache.narrow(0, slot * kCapacity, used[slot]); };
    EXPECT_LT(Difference(out.narrow(0, slot, 1), Causal(q.narrow(0, slot, 1), held(k), held(v))), kTolerance);
  }
}

TEST(FlashTest, WhatTheKernelDoesNotTakeThrows) {
  if (!OnFakeDevice()) GTEST_SKIP() << "a real kernel reads wrong offsets";
  const at::NoGradGuard no_grad;
  const at::Device device = DeviceUnderTest();
  const at::Tensor q = RandomHeads(4, kHeads).to(device), k = RandomHeads(4, kKvHeads).to(device);
  const at::Tensor begins = Offsets({0, 4});
  EXPECT_NO_THROW(Flash(q, k, k, begins, begins, 4, 4, true));
  EXPECT_ANY_THROW(Flash(q.to(at::kFloat), k.to(at::kFloat), k.to(at::kFloat), begins, begins, 4, 4, true));
  EXPECT_ANY_THROW(Flash(q, k, k, begins.to(at::kLong), begins, 4, 4, true));
  EXPECT_ANY_THROW(Flash(q, k, k, begins.cpu(), begins, 4, 4, true));
  EXPECT_ANY_THROW(Flash(q, k, k, begins, begins, 3, 4, true)) << "a longer sequence than was said";
  EXPECT_ANY_THROW(Flash(q, k, k, begins, Offsets({0, 5}), 4, 5, true)) << "beyond the rows";
}

TEST(MatMulTest, ProductsOfBfloat16AreReturnedInFloat32) {
  const at::NoGradGuard no_grad;
  const at::Tensor a = at::randn({5, 16}).to(at::kBFloat16), b = at::randn({16, 3}).to(at::kBFloat16);
  const at::Tensor product = at::mm(a.to(DeviceUnderTest()), b.to(DeviceUnderTest()), at::kFloat);
  EXPECT_EQ(product.scalar_type(), at::kFloat);
  EXPECT_LT(Difference(product, at::mm(a.to(at::kFloat), b.to(at::kFloat))), 1e-5);
}

}  // namespace
}  // namespace grpo
