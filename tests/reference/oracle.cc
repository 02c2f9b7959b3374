#include "tests/reference/oracle.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/log.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/sqrt.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>

namespace grpo {
namespace {

int64_t NumTrainable(const OracleSample& sample) {
  if (!sample.reward) return 0;
  return std::count(sample.trainable_mask.begin(), sample.trainable_mask.end(), true);
}

}  // namespace

std::vector<double> OracleAdvantages(const OracleGroup& group, const OracleOptions& options) {
  double count = 0, sum = 0, squares = 0;
  for (const OracleSample& sample : group.samples) {
    if (!sample.reward) continue;
    ++count;
    sum += *sample.reward;
  }
  for (const OracleSample& sample : group.samples) {
    if (sample.reward) squares += std::pow(*sample.reward - sum / count, 2);
  }
  std::vector<double> advantages;
  for (const OracleSample& sample : group.samples) {
    double advantage = 0;
    if (sample.reward && count >= 2) {
      advantage = *sample.reward - sum / count;
      if (options.scale_rewards) advantage /= std::sqrt(squares / (count - 1)) + options.std_eps;
    }
    advantages.push_back(advantage);
  }
  return advantages;
}

at::Tensor TokenLogprob(const Transformer& model, const std::vector<int64_t>& prefix, int64_t token,
                        double temperature) {
  const int64_t size = static_cast<int64_t>(prefix.size());
  PackedAttention attention({size});
  const at::Tensor hidden = model.Forward(at::tensor(prefix), at::arange(size), attention);                // [size, D]
  const at::Tensor logits = model.Logits(hidden.narrow(0, size - 1, 1))[0].to(at::kDouble) / temperature;  // [V]
  return logits[token] - at::log(at::exp(logits).sum());
}

Oracle::Oracle(Transformer* policy, const Transformer* reference, const OracleOptions& options)
    : policy_(policy), reference_(reference), options_(options) {
  for (const auto& [name, parameter] : policy_->NamedParameters()) {
    weights_.push_back(parameter.detach().to(at::kDouble));
    moments_.push_back(at::zeros_like(weights_.back()));
    squares_.push_back(at::zeros_like(weights_.back()));
  }
}

double Oracle::Step(const std::vector<OracleGroup>& groups) {
  const size_t num_minibatches = std::min<size_t>(options_.minibatches_per_iteration, groups.size());
  double loss = 0;
  for (int iteration = 0; iteration < options_.iterations_per_step; ++iteration) {
    for (size_t i = 0; i < num_minibatches; ++i) {
      const auto begin = groups.begin() + static_cast<int64_t>(i * groups.size() / num_minibatches);
      const auto end = groups.begin() + static_cast<int64_t>((i + 1) * groups.size() / num_minibatches);
      loss += Differentiate({begin, end});
      MoveWeights();
    }
  }
  return loss / static_cast<double>(options_.iterations_per_step * num_minibatches);
}

double Oracle::Differentiate(const std::vector<OracleGroup>& groups) {
  double num_tokens = 0, num_completions = 0;
  for (const OracleGroup& group : groups) {
    for (const OracleSample& sample : group.samples) {
      num_tokens += static_cast<double>(NumTrainable(sample));
      num_completions += NumTrainable(sample) > 0;
    }
  }
  gradients_.clear();
  for (const at::Tensor& weight : weights_) gradients_.push_back(at::zeros_like(weight));
  double loss = 0;
  for (const OracleGroup& group : groups) {
    const std::vector<double> advantages = OracleAdvantages(group, options_);
    for (size_t i = 0; i < group.samples.size(); ++i) {
      const OracleSample& sample = group.samples[i];
      if (!sample.reward) continue;
      const double share =
          options_.token_mean ? 1 / num_tokens : 1 / num_completions / static_cast<double>(NumTrainable(sample));
      std::vector<int64_t> prefix = group.prompt_ids;
      for (size_t t = 0; t < sample.ids.size(); prefix.push_back(sample.ids[t++])) {
        if (!sample.trainable_mask[t]) continue;
        const at::Tensor policy_logprob = TokenLogprob(*policy_, prefix, sample.ids[t], options_.temperature);
        // arXiv:2402.03300 eq. 3: the clipped surrogate; the policy that sampled is the old one.
        const at::Tensor ratio = at::exp(policy_logprob - sample.sample_logprob[t]);
        const at::Tensor clipped = ratio.clamp(1 - options_.clip_low, 1 + options_.clip_high);
        at::Tensor term = -at::minimum(ratio * advantages[i], clipped * advantages[i]);
        if (options_.kl_coefficient != 0) {
          // Eq. 4: p_ref / p - log(p_ref / p) - 1.
          const at::Tensor log_ratio =
              TokenLogprob(*reference_, prefix, sample.ids[t], options_.temperature).detach() - policy_logprob;
          term = term + options_.kl_coefficient * (at::exp(log_ratio) - log_ratio - 1);
        }
        (term * share).backward();
        loss += term.item<double>() * share;
        const NamedTensors parameters = policy_->NamedParameters();
        for (size_t p = 0; p < parameters.size(); ++p) {
          gradients_[p] += parameters[p].second.grad().to(at::kDouble);
          parameters[p].second.mutable_grad().reset();
        }
      }
    }
  }
  return loss;
}

void Oracle::MoveWeights() {
  const at::NoGradGuard no_grad;
  double norm = 0;
  for (const at::Tensor& gradient : gradients_) norm += (gradient * gradient).sum().item<double>();
  norm = std::sqrt(norm);
  const bool clip = options_.max_grad_norm > 0 && norm > options_.max_grad_norm;
  const double scale = clip ? options_.max_grad_norm / norm : 1;
  ++num_updates_;
  const NamedTensors parameters = policy_->NamedParameters();
  for (size_t p = 0; p < parameters.size(); ++p) {
    // AdamW, arXiv:1711.05101 algorithm 2 (arXiv:1412.6980 for the moments).
    const at::Tensor gradient = gradients_[p] * scale;
    moments_[p] = options_.beta1 * moments_[p] + (1 - options_.beta1) * gradient;
    squares_[p] = options_.beta2 * squares_[p] + (1 - options_.beta2) * gradient * gradient;
    const at::Tensor moment = moments_[p] / (1 - std::pow(options_.beta1, num_updates_));
    const at::Tensor square = squares_[p] / (1 - std::pow(options_.beta2, num_updates_));
    const at::Tensor direction = moment / (at::sqrt(square) + options_.eps) + options_.weight_decay * weights_[p];
    weights_[p] = weights_[p] - options_.learning_rate * direction;
    at::Tensor(parameters[p].second).copy_(weights_[p]);
  }
}

}  // namespace grpo
