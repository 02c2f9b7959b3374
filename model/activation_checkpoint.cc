#include "model/activation_checkpoint.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

#include <utility>

namespace grpo {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

// The body on its way through autograd's saved data.
struct Body : torch::CustomClassHolder {
  explicit Body(std::function<at::Tensor(const at::Tensor&)> function) : call(std::move(function)) {}
  const std::function<at::Tensor(const at::Tensor&)> call;
};

struct CheckpointFunction : torch::autograd::Function<CheckpointFunction> {
  // Autograd is off in here: nothing but x is kept.
  static Variable forward(AutogradContext* context, const Variable& x, const c10::intrusive_ptr<Body>& body) {
    context->save_for_backward({x});
    context->saved_data["body"] = c10::IValue::make_capsule(body);
    return body->call(x);
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const auto body = c10::static_intrusive_pointer_cast<Body>(context->saved_data["body"].toCapsule());
    const at::Tensor x = context->get_saved_variables()[0].detach().requires_grad_(true);
    at::Tensor y;
    {
      const at::AutoGradMode with_grad(true);
      y = body->call(x);
    }
    torch::autograd::backward({y}, {grads[0]});
    return {x.grad(), Variable()};
  }
};

}  // namespace

at::Tensor Checkpoint(std::function<at::Tensor(const at::Tensor&)> body, const at::Tensor& x) {
  return CheckpointFunction::apply(x, c10::make_intrusive<Body>(std::move(body)));
}

}  // namespace grpo
