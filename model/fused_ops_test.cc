#include "model/fused_ops.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "common/status_testing.h"
#include "model/threads.h"

namespace grpo {
namespace {

constexpr double kEps = 1e-5;

at::Tensor Random(at::IntArrayRef shape, int64_t seed) {
  at::manual_seed(static_cast<uint64_t>(seed));
  return at::randn(shape);
}

// An operation of the inputs that need gradients.
using Operation = std::function<at::Tensor(const std::vector<at::Tensor>&)>;

// The result and the gradients of a fixed weighting of it, in that order.
std::vector<at::Tensor> ValueAndGradients(const Operation& operation, std::vector<at::Tensor> inputs) {
  for (at::Tensor& input : inputs) input = input.detach().clone().requires_grad_(true);
  const at::Tensor value = operation(inputs);
  (value * Random(value.sizes(), 99).to(value.scalar_type())).sum().backward();
  std::vector<at::Tensor> all = {value.detach()};
  for (const at::Tensor& input : inputs) all.push_back(input.grad());
  return all;
}

std::vector<at::Tensor> InDouble(std::vector<at::Tensor> tensors) {
  for (at::Tensor& tensor : tensors) tensor = tensor.to(at::kDouble);
  return tensors;
}

// The operation in float32 against the formula in float64.
void ExpectEqual(const Operation& operation, const Operation& formula, const std::vector<at::Tensor>& inputs) {
  const std::vector<at::Tensor> got = ValueAndGradients(operation, inputs);
  const std::vector<at::Tensor> expected = ValueAndGradients(formula, InDouble(inputs));
  for (size_t i = 0; i < got.size(); ++i) {
    const at::Tensor difference = got[i].to(at::kDouble) - expected[i];
    EXPECT_LT((difference.norm() / expected[i].norm()).item<double>(), 2e-6) << (i == 0 ? "value" : "gradient ") << i;
  }
}

// Every bit, on 1, 2 and 4 threads.
void ExpectTheSameOnAnyThreads(const Operation& operation, const std::vector<at::Tensor>& inputs) {
  std::vector<at::Tensor> reference;
  for (const int64_t num_threads : {1, 2, 4}) {
    ASSERT_OK(UseThreads(num_threads));
    const std::vector<at::Tensor> got = ValueAndGradients(operation, inputs);
    if (reference.empty()) reference = got;
    for (size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(got[i].equal(reference[i])) << i << ", " << num_threads;
  }
}

at::Tensor Norm(const std::vector<at::Tensor>& in) {
  return RmsNorm(in[0], in[1], kEps);
}
at::Tensor NormFormula(const std::vector<at::Tensor>& in) {
  return in[0] * at::rsqrt(in[0].pow(2).mean({-1}, /*keepdim=*/true) + kEps) * in[1];
}

at::Tensor Gated(const std::vector<at::Tensor>& in) {
  return SwiGlu(in[0]);
}
at::Tensor GatedFormula(const std::vector<at::Tensor>& in) {
  const std::vector<at::Tensor> halves = in[0].chunk(2, 1);
  return at::silu(halves[0]) * halves[1];
}

constexpr int64_t kHeads = 3, kKvHeads = 1, kHeadDim = 8;

// [N, 2, K/2] of the angles that `rows` rows have.
at::Tensor Rope(int64_t rows) {
  const at::Tensor angles = Random({rows, kHeadDim / 2}, 5) * 3;
  return at::stack({angles.cos(), angles.sin()}, 1);
}
Operation Rotated(const at::Tensor& rope) {
  return [rope](const std::vector<at::Tensor>& in) {
    const auto [q, k, v] = SplitAndRotate(in[0], rope, kHeads, kKvHeads);
    return at::cat({q, k, v}, 1);
  };
}
Operation RotatedFormula(const at::Tensor& rope) {
  return [rope = rope.to(at::kDouble)](const std::vector<at::Tensor>& in) {
    const at::Tensor heads = in[0].view({in[0].size(0), kHeads + 2 * kKvHeads, kHeadDim});
    const at::Tensor turned = heads.narrow(1, 0, kHeads + kKvHeads);
    const at::Tensor low = turned.narrow(2, 0, kHeadDim / 2), high = turned.narrow(2, kHeadDim / 2, kHeadDim / 2);
    const at::Tensor cosine = rope.select(1, 0).unsqueeze(1), sine = rope.select(1, 1).unsqueeze(1);
    const at::Tensor rotated = at::cat({low * cosine - high * sine, high * cosine + low * sine}, 2);
    return at::cat({rotated, heads.narrow(1, kHeads + kKvHeads, kKvHeads)}, 1);
  };
}

// Widths that fill no whole vector, and rows that fill no whole block.
TEST(FusedOps, EqualTheirFormulas) {
  for (const int64_t width : {1, 17, 64}) {
    ExpectEqual(Norm, NormFormula, {Random({70, width}, 1), Random({width}, 2)});
    ExpectEqual(Gated, GatedFormula, {Random({70, 2 * width}, 3)});
  }
  const at::Tensor rope = Rope(70);
  ExpectEqual(Rotated(rope), RotatedFormula(rope), {Random({70, (kHeads + 2 * kKvHeads) * kHeadDim}, 4)});
}

// Rows enough for every thread to have some.
TEST(FusedOps, BitsDoNotDependOnTheNumberOfThreads) {
  ExpectTheSameOnAnyThreads(Norm, {Random({333, 576}, 1), Random({576}, 2)});
  ExpectTheSameOnAnyThreads(Gated, {Random({333, 300}, 3)});
  ExpectTheSameOnAnyThreads(Rotated(Rope(1333)), {Random({1333, (kHeads + 2 * kKvHeads) * kHeadDim}, 4)});
}

TEST(FusedOps, NoRowsAreNoError) {
  EXPECT_EQ(RmsNorm(at::zeros({0, 4}), at::ones({4}), kEps).numel(), 0);
  EXPECT_EQ(SwiGlu(at::zeros({0, 8})).numel(), 0);
}

}  // namespace
}  // namespace grpo
