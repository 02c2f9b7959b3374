// AdamW (arXiv:1711.05101) by ATen's fused kernel: one call updates every parameter that decays alike.
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

// One thread. Bias-corrected moments; weight_decay is decoupled and scaled by the learning rate, as in PyTorch's AdamW;
// l2 is part of the gradient, as weight_decay of PyTorch's Adam. With weight_decay_on "matrices", parameters of fewer
// than two dimensions have neither.
class AdamW {
 public:
  // Named leaves that require grad, all on one device; they are updated in place. float32. Moments begin at zero, on
  // the same device: with the parameters they are three times the weights' memory, gradients apart.
  //
  // `stage_parameters` are leaves of the same kind that belong to the stage and not to the policy, such as learned
  // projections; contiguous. They are updated like the others, behind which they stand. A policy is saved and sent by
  // others; these are saved and sent by State. No name may be another's, nor be the name of a moment.
  AdamW(std::vector<std::pair<std::string, at::Tensor>> parameters, const OptimizerOptions& options,
        std::vector<std::pair<std::string, at::Tensor>> stage_parameters = {});

  // Forgets the gradients.
  void ZeroGrad();
  // The gradients, zeros where none was computed, in the parameters' order; those of the stage's own come last. Not
  // copies: scaling them scales what Step uses.
  std::vector<at::Tensor> Gradients();
  // Moves the parameters along -gradients. By AdamW's rule, with the options' betas, eps and weight decay. The term of
  // an l2 above 0 is added to the gradients in place. What torch throws passes through. Waits for no device.
  void Step(double learning_rate);
  // What Step calls first, before any parameter changes.
  void SetBeforeUpdate(std::function<void()> before_update) { before_update_ = std::move(before_update); }

  // Calls of Step, over what SetState gave.
  int64_t num_steps() const { return num_steps_; }

  // State to save: "<parameter>.exp_avg" and "<parameter>.exp_avg_sq", in the parameters' order, then the values of the
  // stage's own parameters under their own names; and the step count. None requires grad. Not copies, and where the
  // parameters are: the next Step changes them, and who writes into them changes the optimizer and the stage's
  // parameters.
  std::vector<std::pair<std::string, at::Tensor>> State() const;
  // The same back, in place, from any device. InvalidArgument names a tensor that is missing or of another shape. Tensors beyond those
  // are passed over. After an error some moments and values may be the new ones.
  absl::Status SetState(const std::map<std::string, at::Tensor>& state, int64_t num_steps);

 private:
  // Parameters that decay alike.
  struct Group {
    double weight_decay, l2;
    std::vector<size_t> members;  // indices, ascending
  };

  const OptimizerOptions options_;
  // The stage's own are the last num_stage_parameters_ of all of them.
  std::vector<std::string> names_;
  std::vector<at::Tensor> parameters_, exp_avg_, exp_avg_sq_;
  // Scalar float32 each, beside their parameter, as the kernel wants them.
  std::vector<at::Tensor> step_counts_;
  size_t num_stage_parameters_;
  std::vector<Group> groups_;
  int64_t num_steps_ = 0;
  std::function<void()> before_update_;
};

// Learning rate of step `step` (from 0) of a stage of num_steps. Pure.
//   constant, linear, cosine: linear warm-up, options.learning_rate * (step + 1) / warmup_steps, times what the
//     schedule leaves of it. It falls from decay_start_frac on, as if to reach the end of its line or half cosine
//     (arXiv:1608.03983 eq. 5, without restarts; PyTorch's CosineAnnealingLR) at step num_steps, one after the last.
//     linear falls towards 0 and stops at final_learning_rate_frac, cosine falls towards final_learning_rate_frac.
//   one_cycle (arXiv:1803.09820; PyTorch's OneCycleLR in two phases, momentum apart): from initial_learning_rate_frac
//     at step 0 to learning_rate at step peak_frac * num_steps - 1, then to final_learning_rate_frac at the last step.
//     Where that peak would be before step 0, the first step is behind it already, as in PyTorch; the only step of a
//     stage is its last.
double LearningRateAt(const OptimizerOptions& options, int64_t step, int64_t num_steps);

}  // namespace grpo

#endif  // GRPO_TRAINER_OPTIM_ADAMW_H_
