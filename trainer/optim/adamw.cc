#include "trainer/optim/adamw.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "model/tensor.h"

namespace grpo {

AdamW::AdamW(std::vector<std::pair<std::string, at::Tensor>> parameters, const OptimizerOptions& options)
    : options_(options) {
  for (auto& [name, parameter] : parameters) {
    names_.push_back(name);
    exp_avg_.push_back(at::zeros_like(parameter));
    exp_avg_sq_.push_back(at::zeros_like(parameter));
    step_counts_.push_back(at::full({}, 0.0f, parameter.options().requires_grad(false)));
    parameters_.push_back(std::move(parameter));
  }
}

void AdamW::ZeroGrad() {
  for (at::Tensor& parameter : parameters_) parameter.mutable_grad().reset();
}

std::vector<at::Tensor> AdamW::Gradients() {
  std::vector<at::Tensor> gradients;
  for (at::Tensor& parameter : parameters_) {
    if (!parameter.grad().defined()) parameter.mutable_grad() = at::zeros_like(parameter);
    gradients.push_back(parameter.grad());
  }
  return gradients;
}

void AdamW::Step(double learning_rate) {
  if (before_update_) before_update_();
  const at::NoGradGuard no_grad;
  ++num_steps_;
  for (at::Tensor& count : step_counts_) count.fill_(static_cast<float>(num_steps_));
  at::_fused_adamw_(parameters_, Gradients(), exp_avg_, exp_avg_sq_, /*max_exp_avg_sqs=*/{}, step_counts_,
                    learning_rate, options_.beta1, options_.beta2, options_.weight_decay, options_.eps,
                    /*amsgrad=*/false, /*maximize=*/false);
}

std::vector<std::pair<std::string, at::Tensor>> AdamW::State() const {
  std::vector<std::pair<std::string, at::Tensor>> state;
  for (size_t i = 0; i < names_.size(); ++i) {
    state.emplace_back(absl::StrCat(names_[i], ".exp_avg"), exp_avg_[i]);
    state.emplace_back(absl::StrCat(names_[i], ".exp_avg_sq"), exp_avg_sq_[i]);
  }
  return state;
}

absl::Status AdamW::SetState(const std::map<std::string, at::Tensor>& state, int64_t num_steps) {
  const at::NoGradGuard no_grad;
  for (auto& [name, tensor] : State()) {
    const auto saved = state.find(name);
    if (saved == state.end()) return absl::InvalidArgumentError(absl::StrCat("the optimizer state lacks ", name));
    RETURN_IF_ERROR(ExpectShape(saved->second, tensor.sizes(), name.c_str()));
    tensor.copy_(saved->second);
  }
  num_steps_ = num_steps;
  return absl::OkStatus();
}

double LearningRateAt(const OptimizerOptions& options, int64_t step, int64_t num_steps) {
  double factor = 1;
  if (options.warmup_steps > 0)
    factor = std::min(1.0, static_cast<double>(step + 1) / static_cast<double>(options.warmup_steps));
  const double done_frac = static_cast<double>(step) / static_cast<double>(std::max<int64_t>(num_steps, 1));
  if (options.schedule == "linear" && done_frac >= options.decay_start_frac) {
    factor *= std::max(options.final_learning_rate_frac, (1 - done_frac) / (1 - options.decay_start_frac));
  }
  return options.learning_rate * factor;
}

}  // namespace grpo
