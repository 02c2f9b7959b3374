// Linear layers, differentiable, over model/matmul.h on the CPU and over ATen's products on other devices. The weights'
// gradient is summed in float32 whatever the layer computes in.
#ifndef GRPO_MODEL_LINEAR_H_
#define GRPO_MODEL_LINEAR_H_

#include <ATen/core/Tensor.h>

#include "model/matmul.h"

namespace grpo {

// x [N, D], float32 or bfloat16: what is computed in. weight [F, D], of x's type or float32, which is then rounded to
// it. All on one device; misfitting shapes are a bug of the caller and end in an exception (TorchGuard). First
// derivatives only. `packed`: the weight, packed as its transpose for N rows, on the CPU alone, and only where no
// gradient is asked for; may be null.

// x weight^T (+ bias [F], float32; may be undefined). [N, F] of x's type, or float32.
at::Tensor Linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                  const PackedMatrix* packed = nullptr);
at::Tensor Float32Linear(const at::Tensor& x, const at::Tensor& weight, const PackedMatrix* packed = nullptr);
// residual [N, F] + x weight^T, float32, the product never rounded.
at::Tensor AddLinear(const at::Tensor& residual, const at::Tensor& x, const at::Tensor& weight,
                     const PackedMatrix* packed = nullptr);

// kFloat or kBFloat16.
MatrixType MatrixTypeOf(at::ScalarType dtype);

// Whether products of this type of operands give a row the same bits however many rows there are, on this CPU.
bool RowsAreIndependent(at::ScalarType dtype);

// out [m, n] (+)= a b; all on one device, a and b of one type, out dense, of that type or float32. MatMul's, and where
// it has no products of bfloat16 the same numbers multiplied and summed in float32. Elsewhere than on the CPU the
// options are without a bias and without a packed matrix, and the device's library sums in float32.
void MatMulInto(const at::Tensor& a, const at::Tensor& b, const at::Tensor& out, const MatMulOptions& options = {});

// The transpose of `weight` for products of `rows` rows, into `packed`, which is made when it is null.
void PackWeight(const at::Tensor& weight, int64_t rows, std::unique_ptr<PackedMatrix>& packed);

}  // namespace grpo

#endif  // GRPO_MODEL_LINEAR_H_
