#include "trainer/loss/logits_loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include "model/linear.h"
#include "model/lm_head.h"

namespace grpo {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

// A value whose gradients are known.
struct KnownGradients : torch::autograd::Function<KnownGradients> {
  static Variable forward(AutogradContext* context, const Variable& hidden, const Variable& head, const Variable& value,
                          const Variable& d_hidden, const Variable& d_head) {
    context->save_for_backward({d_hidden, d_head});
    return value.clone();
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const variable_list saved = context->get_saved_variables();
    return {saved[0] * grads[0], saved[1] * grads[0], Variable(), Variable(), Variable()};
  }
};

}  // namespace

at::Tensor SumOverLogits(const TargetOutputs& outputs, int64_t chunk_bytes,
                         absl::FunctionRef<LogitsLoss(int64_t, at::Tensor&)> function) {
  const bool differentiable =
      at::GradMode::is_enabled() && (outputs.hidden.requires_grad() || outputs.head.requires_grad());
  at::Tensor value, d_hidden, d_head;
  {
    const at::NoGradGuard no_grad;
    const at::Tensor hidden = outputs.hidden.to(outputs.head_dtype).contiguous();
    const at::Tensor head = outputs.head.to(outputs.head_dtype);
    if (differentiable) {
      d_hidden = at::empty(hidden.sizes(), hidden.options().dtype(at::kFloat));
      d_head = at::zeros(head.sizes(), head.options().dtype(at::kFloat));
    }
    ForEachLogitsChunk(hidden, head, chunk_bytes, [&](int64_t begin, at::Tensor& logits) {
      const int64_t count = logits.size(0);
      const LogitsLoss loss = function(begin, logits);
      value = value.defined() ? value + loss.value : loss.value;
      if (!differentiable) return;
      const at::Tensor d_logits = loss.gradient.to(hidden.scalar_type());
      MatMulInto(d_logits, head, d_hidden.narrow(0, begin, count));
      MatMulInto(d_logits.t(), hidden.narrow(0, begin, count), d_head, {.accumulate = true});
    });
  }
  if (!differentiable) return value;
  return KnownGradients::apply(outputs.hidden, outputs.head, value, d_hidden, d_head);
}

at::Tensor LogitsOf(const TargetOutputs& outputs, int64_t begin, int64_t count) {
  const at::Tensor hidden = outputs.hidden.narrow(0, begin, count).to(outputs.head_dtype).contiguous();
  at::Tensor logits = at::empty({count, outputs.head.size(0)}, outputs.hidden.options().dtype(at::kFloat));
  MatMulInto(hidden, outputs.head.to(outputs.head_dtype).t(), logits);
  return logits;
}

}  // namespace grpo
