#include "model/linear.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

namespace grpo {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

MatrixType TypeOf(const at::Tensor& tensor) {
  TORCH_CHECK(tensor.is_cpu(), "products are of tensors on the CPU, not of ", tensor.toString());
  return MatrixTypeOf(tensor.scalar_type());
}

// What products are computed from: bfloat16 operands in float32, which holds them exactly, where there is no other way.
at::Tensor Operand(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kBFloat16 && !HasBfloat16Products() ? tensor.to(at::kFloat) : tensor;
}

MatrixView ViewOf(const at::Tensor& tensor) {
  TORCH_CHECK(tensor.dim() == 2 && (tensor.stride(0) == 1 || tensor.stride(1) == 1), "a matrix with a stride of 1");
  return {tensor.const_data_ptr(), TypeOf(tensor), tensor.size(0), tensor.size(1), tensor.stride(0), tensor.stride(1)};
}

// d_out [N, F]: the gradients of x and of the weight [F, D], float32.
at::Tensor GradOfInput(const at::Tensor& d_out, const at::Tensor& weight) {
  at::Tensor dx = at::empty({d_out.size(0), weight.size(1)}, d_out.options());
  MatMulInto(d_out, weight, dx);
  return dx;
}

at::Tensor GradOfWeight(const at::Tensor& d_out, const at::Tensor& x) {
  at::Tensor d_weight = at::empty({d_out.size(1), x.size(1)}, d_out.options().dtype(at::kFloat));
  MatMulInto(d_out.t(), x, d_weight);
  return d_weight;
}

// a b of a device, in float32: products of bfloat16 are summed and returned so.
at::Tensor DeviceProduct(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == at::kFloat ? at::mm(a, b) : at::mm(a, b, at::kFloat);
}

// MatMulInto on a device. What is added to in float32 gets products of bfloat16 in blocks of rows, so that there is
// never a second gradient of an output head.
void DeviceMatMulInto(const at::Tensor& a, const at::Tensor& b, const at::Tensor& out, const MatMulOptions& options) {
  TORCH_CHECK(options.bias == nullptr && options.packed_b == nullptr, "a device's products have neither of these");
  at::Tensor result = out;
  if (out.scalar_type() == a.scalar_type()) {
    if (options.accumulate) {
      result.addmm_(a, b);
    } else {
      at::mm_out(result, a, b);
    }
    return;
  }
  if (!options.accumulate) {
    at::mm_out(result, a, b, out.scalar_type());
    return;
  }
  constexpr int64_t kBlockNumbers = int64_t{1} << 24;
  const int64_t block_rows = std::max<int64_t>(1, kBlockNumbers / std::max<int64_t>(1, out.size(1)));
  for (int64_t begin = 0; begin < out.size(0); begin += block_rows) {
    const int64_t count = std::min(block_rows, out.size(0) - begin);
    out.narrow(0, begin, count).add_(DeviceProduct(a.narrow(0, begin, count), b));
  }
}

// Product on a device.
at::Tensor DeviceLinear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                        at::ScalarType out_type) {
  if (bias.numel() > 0) return DeviceProduct(x, weight.t()).add_(bias).to(out_type);
  return out_type == x.scalar_type() ? at::mm(x, weight.t()) : DeviceProduct(x, weight.t());
}

// x weight^T (+ bias, where it has elements), with nothing for a gradient.
at::Tensor Product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, at::ScalarType out_type,
                   const PackedMatrix* packed = nullptr) {
  if (!x.is_cpu()) return DeviceLinear(x, weight, bias, out_type);
  at::Tensor out = at::empty({x.size(0), weight.size(0)}, out_type);
  MatMulInto(x.contiguous(), weight.t(), out,
             {.bias = bias.numel() > 0 ? bias.const_data_ptr<float>() : nullptr, .packed_b = packed});
  return out;
}

at::Tensor Sum(const at::Tensor& residual, const at::Tensor& x, const at::Tensor& weight,
               const PackedMatrix* packed = nullptr) {
  at::Tensor out = residual.contiguous().clone();
  MatMulInto(x.contiguous(), weight.t(), out, {.accumulate = true, .packed_b = packed});
  return out;
}

struct LinearFunction : torch::autograd::Function<LinearFunction> {
  // Without a bias it has no elements: autograd takes no undefined tensors.
  static Variable forward(AutogradContext* context, const Variable& x_in, const Variable& weight_in,
                          const Variable& bias, at::ScalarType out_type) {
    const at::Tensor x = x_in.contiguous(), weight = weight_in.to(x.scalar_type());
    context->save_for_backward({x, weight});
    context->saved_data["has_bias"] = bias.numel() > 0;
    return Product(x, weight, bias, out_type);
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor d_out = grads[0].contiguous().to(saved[0].scalar_type());
    return {context->needs_input_grad(0) ? GradOfInput(d_out, saved[1]) : Variable(),
            context->needs_input_grad(1) ? GradOfWeight(d_out, saved[0]) : Variable(),
            context->saved_data["has_bias"].toBool() ? d_out.sum(0, /*keepdim=*/false, at::kFloat) : Variable(),
            Variable()};
  }
};

struct AddLinearFunction : torch::autograd::Function<AddLinearFunction> {
  static Variable forward(AutogradContext* context, const Variable& residual, const Variable& x_in,
                          const Variable& weight_in) {
    const at::Tensor x = x_in.contiguous(), weight = weight_in.to(x.scalar_type());
    context->save_for_backward({x, weight});
    return Sum(residual, x, weight);
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor d_out = grads[0].contiguous().to(saved[0].scalar_type());
    return {grads[0], context->needs_input_grad(1) ? GradOfInput(d_out, saved[1]) : Variable(),
            context->needs_input_grad(2) ? GradOfWeight(d_out, saved[0]) : Variable()};
  }
};

}  // namespace

MatrixType MatrixTypeOf(at::ScalarType dtype) {
  TORCH_CHECK(dtype == at::kFloat || dtype == at::kBFloat16, "products are of float32 or bfloat16, not of ",
              at::toString(dtype));
  return dtype == at::kFloat ? MatrixType::kFloat32 : MatrixType::kBfloat16;
}

bool RowsAreIndependent(at::ScalarType dtype) {
  return TraitsOfMatMul(MatrixTypeOf(dtype)).rows_independent;
}

void MatMulInto(const at::Tensor& a_in, const at::Tensor& b_in, const at::Tensor& out, const MatMulOptions& options) {
  TORCH_CHECK(out.is_contiguous() && out.dim() == 2 && out.size(0) == a_in.size(0) && out.size(1) == b_in.size(1),
              "a product's result is dense and has its shape");
  // Who looks at where time goes (grpoctl bench --profile) sees it as one of torch's operators.
  RECORD_FUNCTION("grpo::matmul", std::vector<c10::IValue>({a_in, b_in}));
  if (!out.is_cpu()) return DeviceMatMulInto(a_in, b_in, out, options);
  // Of a packed b only the shape is looked at.
  const at::Tensor a = Operand(a_in), b = options.packed_b != nullptr ? b_in : Operand(b_in);
  const bool rounds = out.scalar_type() == at::kBFloat16 && !HasBfloat16Products();
  const at::Tensor exact = rounds ? at::empty(out.sizes(), at::kFloat) : out;
  MatMul(ViewOf(a), ViewOf(b), exact.mutable_data_ptr(), TypeOf(exact), options);
  if (rounds) out.copy_(exact);
}

void PackWeight(const at::Tensor& weight, int64_t rows, std::unique_ptr<PackedMatrix>& packed) {
  const at::Tensor operand = Operand(weight);
  const MatrixView transposed = ViewOf(operand).Transposed();
  if (packed == nullptr) {
    packed = PackMatrix(transposed, rows);
  } else {
    packed->Fill(transposed);
  }
}

at::Tensor Linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias_in,
                  const PackedMatrix* packed) {
  const at::Tensor bias = bias_in.defined() ? bias_in : at::empty({0});
  return packed == nullptr ? LinearFunction::apply(x, weight, bias, x.scalar_type())
                           : Product(x, weight, bias, x.scalar_type(), packed);
}

at::Tensor Float32Linear(const at::Tensor& x, const at::Tensor& weight, const PackedMatrix* packed) {
  const at::Tensor bias = at::empty({0});
  return packed == nullptr ? LinearFunction::apply(x, weight, bias, at::kFloat)
                           : Product(x, weight, bias, at::kFloat, packed);
}

at::Tensor AddLinear(const at::Tensor& residual, const at::Tensor& x, const at::Tensor& weight,
                     const PackedMatrix* packed) {
  return packed == nullptr ? AddLinearFunction::apply(residual, x, weight) : Sum(residual, x, weight, packed);
}

}  // namespace grpo
