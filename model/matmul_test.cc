#include "model/matmul.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>

#include "common/status_testing.h"
#include "model/linear.h"
#include "model/threads.h"

namespace grpo {
namespace {

// By way of model/linear.h, which stands in where the processor has no products of bfloat16.
at::Tensor Product(const at::Tensor& a, const at::Tensor& b, at::ScalarType out_type = at::kFloat,
                   const MatMulOptions& options = {}) {
  at::Tensor out = at::zeros({a.size(0), b.size(1)}, out_type);
  MatMulInto(a, b, out, options);
  return out;
}

std::unique_ptr<PackedMatrix> Pack(const at::Tensor& weight, int64_t rows) {
  std::unique_ptr<PackedMatrix> packed;
  PackWeight(weight, rows, packed);
  return packed;
}

at::Tensor Random(at::IntArrayRef shape, uint64_t seed, at::ScalarType dtype) {
  at::Generator generator = at::detail::createCPUGenerator(seed);
  return at::randn(shape, generator).to(dtype);
}

// Products in float64 of the same (rounded) operands.
TEST(MatMulTest, EqualsFloat64ForEveryTypeAndLayout) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    for (const auto& [m, n, k] :
         {std::tuple<int64_t, int64_t, int64_t>{1, 1, 1}, {3, 5, 7}, {33, 96, 40}, {7, 300, 64}}) {
      for (const bool a_transposed : {false, true}) {
        for (const bool b_transposed : {false, true}) {
          const at::Tensor a = a_transposed ? Random({k, m}, 1, dtype).t() : Random({m, k}, 1, dtype);
          const at::Tensor b = b_transposed ? Random({n, k}, 2, dtype).t() : Random({k, n}, 2, dtype);
          const at::Tensor expected = a.to(at::kDouble).matmul(b.to(at::kDouble)), bias = Random({n}, 3, at::kFloat);
          EXPECT_TRUE(at::allclose(Product(a, b).to(at::kDouble), expected, 1e-5, 1e-5));
          EXPECT_TRUE(at::allclose(Product(a, b, at::kFloat, {.bias = bias.const_data_ptr<float>()}).to(at::kDouble),
                                   expected + bias, 1e-5, 1e-5));
          if (dtype == at::kBFloat16) {
            // Rounded once: to 8 bits.
            EXPECT_TRUE(at::allclose(Product(a, b, dtype).to(at::kDouble), expected, 0.004, 1e-5));
          }
        }
      }
    }
  }
}

TEST(MatMulTest, AccumulatesInFloat32) {
  const at::Tensor a = Random({20, 30}, 1, at::kBFloat16), b = Random({30, 40}, 2, at::kBFloat16);
  at::Tensor out = Random({20, 40}, 3, at::kFloat);
  const at::Tensor expected = out.to(at::kDouble) + a.to(at::kDouble).matmul(b.to(at::kDouble));
  MatMulInto(a, b, out, {.accumulate = true});
  EXPECT_TRUE(at::allclose(out.to(at::kDouble), expected, 1e-5, 1e-5));
}

TEST(MatMulTest, PackedWeightsGiveTheSameNumbers) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor a = Random({32, 96}, 1, dtype), weight = Random({200, 96}, 2, dtype);
    const auto packed = Pack(weight, 32);
    EXPECT_GE(packed->size_bytes(), static_cast<int64_t>(weight.nbytes()));
    EXPECT_TRUE(at::allclose(Product(a, weight.t(), at::kFloat, {.packed_b = packed.get()}), Product(a, weight.t()),
                             1e-5, 1e-5));
  }
}

// What the traits say of this machine is what its products do.
TEST(MatMulTest, RowsAreIndependentWhereTheTraitsSaySo) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor a = Random({700, 192}, 1, dtype), weight = Random({320, 192}, 2, dtype);
    const MatMulTraits& traits = TraitsOfMatMul(MatrixTypeOf(dtype));
    EXPECT_FALSE(traits.kernel.empty());
    RecordProperty(dtype == at::kFloat ? "float32" : "bfloat16", traits.kernel);
    if (!traits.rows_independent) continue;
    const at::Tensor all = Product(a, weight.t());
    for (const int64_t rows : {1, 5, 31, 32, 60, 64, 333}) {
      EXPECT_TRUE(at::equal(Product(a.narrow(0, 0, rows), weight.t()), all.narrow(0, 0, rows))) << rows << " rows";
      const auto packed = Pack(weight, rows);
      EXPECT_TRUE(at::equal(Product(a.narrow(0, 0, rows), weight.t(), at::kFloat, {.packed_b = packed.get()}),
                            all.narrow(0, 0, rows)))
          << rows << " rows, packed";
    }
  }
}

// Gradients of weights are long sums: over all rows of a micro-batch.
TEST(MatMulTest, BitsDoNotDependOnTheNumberOfThreadsWhereTheTraitsSaySo) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    if (!TraitsOfMatMul(MatrixTypeOf(dtype)).rows_independent) continue;
    const at::Tensor a = Random({7000, 96}, 1, dtype), b = Random({7000, 64}, 2, dtype), w = Random({64, 96}, 3, dtype);
    at::Tensor gradient, forward;
    for (const int threads : {1, 2, 4}) {
      ASSERT_OK(UseThreads(threads));
      const at::Tensor now = Product(a.t(), b), rows = Product(a, w.t());
      if (threads == 1) {
        gradient = now;
        forward = rows;
      }
      EXPECT_TRUE(at::equal(now, gradient)) << threads << " threads";
      EXPECT_TRUE(at::equal(rows, forward)) << threads << " threads";
    }
  }
}

TEST(MatMulTest, RefusesWhatDoesNotFitAndPassesOverNothing) {
  const at::Tensor a = Random({2, 3}, 1, at::kFloat), b = Random({4, 2}, 2, at::kFloat);
  EXPECT_THROW(Product(a, b), std::runtime_error);
  EXPECT_THROW(Product(a, Random({3, 2}, 1, at::kBFloat16)), std::runtime_error);
  EXPECT_EQ(Product(at::zeros({0, 3}), at::zeros({3, 2})).numel(), 0);
}

}  // namespace
}  // namespace grpo
