#include "trainer/optim/adamw.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "model/tensor.h"

namespace grpo {
namespace {

// Norms and biases have fewer dimensions.
constexpr int64_t kMatrixDims = 2;

// From `from` at frac 0 to `to` at frac 1.
double HalfCosine(double from, double to, double frac) {
  return to + (from - to) / 2 * (1 + std::cos(M_PI * frac));
}

// What one_cycle makes of the learning rate.
double OneCycleFactor(const OptimizerOptions& options, int64_t step, int64_t num_steps) {
  // The peak may lie between two steps, or before the first.
  const double now = static_cast<double>(step), last = static_cast<double>(num_steps - 1);
  const double peak = options.peak_frac * static_cast<double>(num_steps) - 1;
  if (now < peak) return HalfCosine(options.initial_learning_rate_frac, 1, now / peak);
  if (peak >= last) return 1;
  return HalfCosine(1, options.final_learning_rate_frac, std::min(1.0, (now - peak) / (last - peak)));
}

// What cosine leaves of the learning rate; done_frac of the stage is done.
double CosineFactor(const OptimizerOptions& options, double done_frac) {
  const double decay_frac = 1 - options.decay_start_frac;
  if (done_frac < options.decay_start_frac || decay_frac <= 0) return 1;
  return HalfCosine(1, options.final_learning_rate_frac,
                    std::min(1.0, (done_frac - options.decay_start_frac) / decay_frac));
}

std::vector<at::Tensor> Select(const std::vector<at::Tensor>& tensors, const std::vector<size_t>& members) {
  std::vector<at::Tensor> selected;
  for (const size_t i : members) selected.push_back(tensors[i]);
  return selected;
}

}  // namespace

AdamW::AdamW(std::vector<std::pair<std::string, at::Tensor>> parameters, const OptimizerOptions& options,
             std::vector<std::pair<std::string, at::Tensor>> stage_parameters)
    : options_(options), num_stage_parameters_(stage_parameters.size()) {
  for (auto& stage_parameter : stage_parameters) parameters.push_back(std::move(stage_parameter));
  groups_ = {{.weight_decay = options.weight_decay, .l2 = options.l2, .members = {}},
             {.weight_decay = 0, .l2 = 0, .members = {}}};
  for (auto& [name, parameter] : parameters) {
    const bool decays = options.weight_decay_on == "all" || parameter.dim() >= kMatrixDims;
    groups_[decays ? 0 : 1].members.push_back(names_.size());
    names_.push_back(name);
    exp_avg_.push_back(at::zeros_like(parameter));
    exp_avg_sq_.push_back(at::zeros_like(parameter));
    step_counts_.push_back(at::full({}, 0.0f, parameter.options().requires_grad(false)));
    parameters_.push_back(std::move(parameter));
  }
  std::erase_if(groups_, [](const Group& group) { return group.members.empty(); });
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
  const std::vector<at::Tensor> all_gradients = Gradients();
  for (const Group& group : groups_) {
    const std::vector<at::Tensor> parameters = Select(parameters_, group.members);
    const std::vector<at::Tensor> gradients = Select(all_gradients, group.members);
    if (group.l2 > 0) {
      for (size_t i = 0; i < gradients.size(); ++i) gradients[i].add_(parameters[i], group.l2);
    }
    at::_fused_adamw_(parameters, gradients, Select(exp_avg_, group.members), Select(exp_avg_sq_, group.members),
                      /*max_exp_avg_sqs=*/{}, Select(step_counts_, group.members), learning_rate, options_.beta1,
                      options_.beta2, group.weight_decay, options_.eps, /*amsgrad=*/false, /*maximize=*/false);
  }
}

std::vector<std::pair<std::string, at::Tensor>> AdamW::State() const {
  std::vector<std::pair<std::string, at::Tensor>> state;
  for (size_t i = 0; i < names_.size(); ++i) {
    state.emplace_back(absl::StrCat(names_[i], ".exp_avg"), exp_avg_[i]);
    state.emplace_back(absl::StrCat(names_[i], ".exp_avg_sq"), exp_avg_sq_[i]);
  }
  // Detached: a leaf that requires grad may not be written into.
  for (size_t i = names_.size() - num_stage_parameters_; i < names_.size(); ++i)
    state.emplace_back(names_[i], parameters_[i].detach());
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
  num_steps = std::max<int64_t>(num_steps, 1);
  if (options.schedule == "one_cycle") return options.learning_rate * OneCycleFactor(options, step, num_steps);
  double factor = 1;
  if (options.warmup_steps > 0)
    factor = std::min(1.0, static_cast<double>(step + 1) / static_cast<double>(options.warmup_steps));
  const double done_frac = static_cast<double>(step) / static_cast<double>(num_steps);
  if (options.schedule == "linear" && done_frac >= options.decay_start_frac) {
    factor *= std::max(options.final_learning_rate_frac, (1 - done_frac) / (1 - options.decay_start_frac));
  }
  if (options.schedule == "cosine") factor *= CosineFactor(options, done_frac);
  return options.learning_rate * factor;
}

}  // namespace grpo
