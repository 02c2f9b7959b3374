#include "model/linear.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include "common/status_testing.h"

namespace grpo {
namespace {

at::Tensor Random(at::IntArrayRef shape, uint64_t seed, at::ScalarType dtype = at::kFloat) {
  at::Generator generator = at::detail::createCPUGenerator(seed);
  return at::randn(shape, generator).to(dtype);
}

at::Tensor Leaf(const at::Tensor& tensor, at::ScalarType dtype) {
  return tensor.to(dtype).clone().requires_grad_(true);
}

// The result and the gradients of all leaves.
std::vector<at::Tensor> WithGradients(const at::Tensor& out, const at::Tensor& d_out,
                                      const std::vector<at::Tensor>& leaves) {
  out.backward(d_out.to(out.scalar_type()));
  std::vector<at::Tensor> all = {out.detach()};
  for (const at::Tensor& leaf : leaves) all.push_back(leaf.grad());
  return all;
}

void ExpectClose(const std::vector<at::Tensor>& got, const std::vector<at::Tensor>& expected, double tolerance) {
  for (size_t i = 0; i < got.size(); ++i) {
    const double largest = expected[i].abs().max().item<double>();
    EXPECT_LT((got[i] - expected[i]).abs().max().item<double>(), tolerance * largest) << "of tensor " << i;
  }
}

TEST(LinearTest, EqualsAtensInFloat64) {
  const at::Tensor x = Random({37, 24}, 1), weight = Random({40, 24}, 2), bias = Random({40}, 3);
  const at::Tensor residual = Random({37, 40}, 4), d_out = Random({37, 40}, 5);
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const double tolerance = dtype == at::kFloat ? 1e-6 : 0.012;
    for (const bool with_bias : {false, true}) {
      const auto run = [&](at::ScalarType of_x, at::ScalarType of_weight, const auto& linear) {
        std::vector<at::Tensor> leaves = {Leaf(x, of_x), Leaf(weight, of_weight)};
        if (with_bias) leaves.push_back(Leaf(bias, of_weight));
        const at::Tensor out = linear(leaves[0], leaves[1], with_bias ? leaves[2] : at::Tensor());
        return WithGradients(out, d_out, leaves);
      };
      ExpectClose(run(dtype, at::kFloat, [](const auto& x, const auto& w, const auto& b) { return Linear(x, w, b); }),
                  run(at::kDouble, at::kDouble,
                      [](const auto& x, const auto& w, const auto& b) { return at::linear(x, w, b); }),
                  tolerance);
    }
    const auto add = [&](at::ScalarType of_x, at::ScalarType of_rest, const auto& linear) {
      const std::vector<at::Tensor> leaves = {Leaf(residual, of_rest), Leaf(x, of_x), Leaf(weight, of_rest)};
      return WithGradients(linear(leaves[0], leaves[1], leaves[2]), d_out, leaves);
    };
    ExpectClose(
        add(dtype, at::kFloat, [](const auto& r, const auto& x, const auto& w) { return AddLinear(r, x, w); }),
        add(at::kDouble, at::kDouble, [](const auto& r, const auto& x, const auto& w) { return r + at::linear(x, w); }),
        tolerance);
  }
}

TEST(LinearTest, ABfloat16LayersGradientsAreFloat32AndItsSumIsNotRounded) {
  const at::Tensor x = Random({5, 8}, 1, at::kBFloat16), weight = Random({6, 8}, 2).requires_grad_(true);
  const at::Tensor residual = Random({5, 6}, 3);
  EXPECT_EQ(Linear(x, weight, {}).scalar_type(), at::kBFloat16);
  const at::Tensor sum = AddLinear(residual, x, weight);
  EXPECT_EQ(sum.scalar_type(), at::kFloat);
  const at::Tensor exact =
      residual.to(at::kDouble) + x.to(at::kDouble).matmul(weight.detach().to(at::kBFloat16).to(at::kDouble).t());
  EXPECT_TRUE(at::allclose(sum.detach().to(at::kDouble), exact, 1e-6, 1e-6));
  sum.sum().backward();
  EXPECT_EQ(weight.grad().scalar_type(), at::kFloat);
}

TEST(LinearTest, PackedWeightsGiveTheSameNumbers) {
  const c10::InferenceMode without_autograd;
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor x = Random({16, 24}, 1, dtype), weight = Random({40, 24}, 2, dtype), bias = Random({40}, 3);
    const at::Tensor residual = Random({16, 40}, 4);
    std::unique_ptr<PackedMatrix> packed;
    PackWeight(Random({40, 24}, 9, dtype), 16, packed);
    PackWeight(weight, 16, packed);
    EXPECT_TRUE(at::allclose(Linear(x, weight, bias, packed.get()), Linear(x, weight, bias), 1e-5, 1e-5));
    EXPECT_TRUE(at::allclose(AddLinear(residual, x, weight, packed.get()), AddLinear(residual, x, weight), 1e-5, 1e-5));
  }
}

}  // namespace
}  // namespace grpo
