// Activation checkpointing (arXiv:1604.06174): a part of the forward pass keeps its input only, and is computed once
// more when its gradient is asked for.
#ifndef GRPO_MODEL_ACTIVATION_CHECKPOINT_H_
#define GRPO_MODEL_ACTIVATION_CHECKPOINT_H_

#include <ATen/core/Tensor.h>

#include <functional>

namespace grpo {

// body(x), differentiable once. `body` must give the same result when it is called again during backward, and what it
// refers to must live until then; leaves that it reads gather their gradients there. x must require grad, or nothing is
// gathered.
at::Tensor Checkpoint(std::function<at::Tensor(const at::Tensor&)> body, const at::Tensor& x);

}  // namespace grpo

#endif  // GRPO_MODEL_ACTIVATION_CHECKPOINT_H_
