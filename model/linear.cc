#include "model/linear.h"

#include <ATen/ops/empty.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

namespace grpo {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

MatrixType TypeOf(const at::Tensor& tensor) {
  TORCH_CHECK(tensor.is_cpu() && (tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kBFloat16),
              "products are of float32 or bfloat16 on the CPU, not of ", tensor.toString());
  return tensor.scalar_type() == at::kFloat ? MatrixType::kFloat32 : MatrixType::kBfloat16;
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

struct LinearFunction : torch::autograd::Function<LinearFunction> {
  // Without a bias it has no elements: autograd takes no undefined tensors.
  static Variable forward(AutogradContext* context, const Variable& x_in, const Variable& weight_in,
                          const Variable& bias, at::ScalarType out_type) {
    const at::Tensor x = x_in.contiguous(), weight = weight_in.to(x.scalar_type());
    at::Tensor out = at::empty({x.size(0), weight.size(0)}, out_type);
    MatMulInto(x, weight.t(), out, {.bias = bias.numel() > 0 ? bias.const_data_ptr<float>() : nullptr});
    context->save_for_backward({x, weight});
    context->saved_data["has_bias"] = bias.numel() > 0;
    return out;
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
    at::Tensor out = residual.contiguous().clone();
    MatMulInto(x, weight.t(), out, {.accumulate = true});
    context->save_for_backward({x, weight});
    return out;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor d_out = grads[0].contiguous().to(saved[0].scalar_type());
    return {grads[0], context->needs_input_grad(1) ? GradOfInput(d_out, saved[1]) : Variable(),
            context->needs_input_grad(2) ? GradOfWeight(d_out, saved[0]) : Variable()};
  }
};

}  // namespace

bool RowsAreIndependent(at::ScalarType dtype) {
  return TraitsOfMatMul(dtype == at::kBFloat16 ? MatrixType::kBfloat16 : MatrixType::kFloat32).rows_independent;
}

void MatMulInto(const at::Tensor& a, const at::Tensor& b, const at::Tensor& out, const MatMulOptions& options) {
  TORCH_CHECK(out.is_contiguous() && out.dim() == 2 && out.size(0) == a.size(0) && out.size(1) == b.size(1),
              "a product's result is dense and has its shape");
  // Who looks at where time goes (grpoctl bench --profile) sees it as one of torch's operators.
  RECORD_FUNCTION("grpo::matmul", std::vector<c10::IValue>({a, b}));
  MatMul(ViewOf(a), ViewOf(b), out.mutable_data_ptr(), TypeOf(out), options);
}

void PackWeight(const at::Tensor& weight, int64_t rows, std::unique_ptr<PackedMatrix>& packed) {
  const MatrixView transposed = ViewOf(weight).Transposed();
  if (packed == nullptr) {
    packed = PackMatrix(transposed, rows);
  } else {
    packed->Fill(transposed);
  }
}

at::Tensor Linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, const PackedMatrix* packed) {
  if (packed == nullptr) {
    return LinearFunction::apply(x, weight, bias.defined() ? bias : at::empty({0}), x.scalar_type());
  }
  at::Tensor out = at::empty({x.size(0), weight.size(0)}, x.options());
  MatMulInto(x.contiguous(), weight.t(), out,
             {.bias = bias.defined() ? bias.const_data_ptr<float>() : nullptr, .packed_b = packed});
  return out;
}

at::Tensor Float32Linear(const at::Tensor& x, const at::Tensor& weight, const PackedMatrix* packed) {
  if (packed == nullptr) return LinearFunction::apply(x, weight, at::empty({0}), at::kFloat);
  at::Tensor out = at::empty({x.size(0), weight.size(0)});
  MatMulInto(x.contiguous(), weight.t(), out, {.packed_b = packed});
  return out;
}

at::Tensor AddLinear(const at::Tensor& residual, const at::Tensor& x, const at::Tensor& weight,
                     const PackedMatrix* packed) {
  if (packed == nullptr) return AddLinearFunction::apply(residual, x, weight);
  at::Tensor out = residual.clone();
  MatMulInto(x.contiguous(), weight.t(), out, {.accumulate = true, .packed_b = packed});
  return out;
}

}  // namespace grpo
