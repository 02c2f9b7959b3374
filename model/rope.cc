#include "model/rope.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>

namespace grpo {
namespace {

constexpr double kTwoPi = 6.283185307179586;

// Llama 3.1's (arXiv:2407.21783): see RopeScaling.
at::Tensor ScaleLlama3(const at::Tensor& frequencies, const RopeScaling& scaling) {
  const double context = static_cast<double>(scaling.original_max_positions);
  const at::Tensor wave_lengths = kTwoPi / frequencies;  // [K / 2]
  const at::Tensor stretched = frequencies / scaling.factor;
  // 0 where all is stretched, 1 where nothing is.
  const at::Tensor kept_frac =
      (context / wave_lengths - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor);
  const at::Tensor between = (1 - kept_frac) * stretched + kept_frac * frequencies;
  const at::Tensor long_waves = wave_lengths > context / scaling.low_freq_factor;
  const at::Tensor short_waves = wave_lengths < context / scaling.high_freq_factor;
  return at::where(long_waves, stretched, at::where(short_waves, frequencies, between));
}

}  // namespace

// In float32 and in this order of operations: angles of far positions keep few digits, and all must keep the same ones.
at::Tensor RopeTable(const ModelConfig& config) {
  const at::Tensor exponents = at::arange(0, config.head_dim, 2, at::kFloat) / static_cast<double>(config.head_dim);
  at::Tensor frequencies = at::pow(config.rope_theta, exponents).reciprocal();  // [K / 2]
  switch (config.rope_scaling.type) {
    case RopeScaling::Type::kDefault:
      break;
    case RopeScaling::Type::kLinear:
      frequencies = frequencies / config.rope_scaling.factor;
      break;
    case RopeScaling::Type::kLlama3:
      frequencies = ScaleLlama3(frequencies, config.rope_scaling);
      break;
  }
  const at::Tensor angles =
      at::outer(at::arange(config.max_positions, at::kFloat), frequencies);  // [max_positions, K / 2]
  return at::stack({angles.cos(), angles.sin()}, 1);
}

}  // namespace grpo
