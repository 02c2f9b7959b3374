// AdamW (arXiv:1711.05101) by ATen's fused kernel: one call updates every parameter.
#ifndef GRPO_TRAINER_OPTIM_ADAMW_H_
#define GRPO_TRAINER_OPTIM_ADAMW_H_

#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "trainer/options.h"

namespace grpo {

// One thread. Bias-corrected moments; the decay is decoupled and scaled by the learning rate, as in PyTorch.
class AdamW {
 public:
  // Named leaves that require grad; they are updated in place. float32. Moments begin at zero: with the parameters they
  // are three times the weights' memory, gradients apart.
  AdamW(std::vector<std::pair<std::string, at::Tensor>> parameters, const OptimizerOptions& options);

  // Forgets the gradients.
  void ZeroGrad();
  // The gradients, zeros where none was computed, in the parameters' order. Not copies: scaling them scales what Step
  // uses.
  std::vector<at::Tensor> Gradients();
  // Moves the parameters along -gradients. By AdamW's rule, with the options' betas, eps and weight decay. What torch
  // throws passes through.
  void Step(double learning_rate);
  // What Step calls first, before any parameter changes.
  void SetBeforeUpdate(std::function<void()> before_update) { before_update_ = std::move(before_update); }

  // Calls of Step, over what SetState gave.
  int64_t num_steps() const { return num_steps_; }

  // State to save: "<parameter>.exp_avg" and "<parameter>.exp_avg_sq", and the step count. In the parameters' order.
  // Not copies: the next Step changes them.
  std::vector<std::pair<std::string, at::Tensor>> State() const;
  // The same back. InvalidArgument names a tensor that is missing or of another shape. Tensors beyond those are passed
  // over. After an error some moments may be the new ones.
  absl::Status SetState(const std::map<std::string, at::Tensor>& state, int64_t num_steps);

 private:
  const OptimizerOptions options_;
  std::vector<std::string> names_;
  std::vector<at::Tensor> parameters_, exp_avg_, exp_avg_sq_;
  // Scalar float32 each, as the kernel wants them.
  std::vector<at::Tensor> step_counts_;
  int64_t num_steps_ = 0;
  std::function<void()> before_update_;
};

// Learning rate of step `step` (from 0) of a stage of num_steps: linear warm-up, then constant or linear to the stage's
// end. In warm-up, options.learning_rate * (step + 1) / warmup_steps. The decay reaches final_learning_rate_frac at the
// end at the latest. Pure.
double LearningRateAt(const OptimizerOptions& options, int64_t step, int64_t num_steps);

}  // namespace grpo

#endif  // GRPO_TRAINER_OPTIM_ADAMW_H_
