#include "model/lm_head.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "model/linear.h"
#include "model/simd.h"
#include "model/threads.h"

namespace grpo {
namespace {

using simd::Fill;
using simd::Floats;
using simd::kLanes;
using simd::Load;
using simd::Store;
using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

// log sum_i exp(logits_i * scale). A sum in float32 loses nothing that matters beside the blocks' own: 16 lanes of a
// block of 4,096 are added up, blocks in double.
GRPO_SIMD_CLONES double LogSumExp(const float* logits, int64_t size, float scale) {
  constexpr int64_t kBlock = 256 * kLanes;
  const Floats nothing = Fill(-std::numeric_limits<float>::infinity());
  Floats largest = nothing;
  for (int64_t i = 0; i < size; i += kLanes) {
    const Floats x = Load(logits + i, std::min(kLanes, size - i));
    largest = simd::Max(simd::FirstLanes(size - i) ? x : nothing, largest);
  }
  const float maximum = simd::LargestLane(largest);
  double total = 0;
  for (int64_t begin = 0; begin < size; begin += kBlock) {
    Floats sum = {};
    const int64_t end = std::min(size, begin + kBlock);
    for (int64_t i = begin; i < end; i += kLanes) {
      const Floats x = (Load(logits + i, std::min(kLanes, end - i)) - maximum) * scale;
      sum += simd::FirstLanes(end - i) ? simd::Exp(x) : Floats{};
    }
    total += simd::Sum(sum);
  }
  return static_cast<double>(maximum) * scale + std::log(total);
}

// Puts -factor * exp(logits_i * scale - log_sum_exp) in the place of logits_i.
GRPO_SIMD_CLONES void SoftmaxTimes(float* logits, int64_t size, float scale, float log_sum_exp, float factor) {
  for (int64_t i = 0; i < size; i += kLanes) {
    const int64_t count = std::min(kLanes, size - i);
    Store(logits + i, simd::Exp(Load(logits + i, count) * scale - log_sum_exp) * -factor, count);
  }
}

int64_t ChunkRows(int64_t num_rows, int64_t vocab_size, int64_t chunk_bytes) {
  return std::clamp<int64_t>(chunk_bytes / (vocab_size * static_cast<int64_t>(sizeof(float))), 1, num_rows);
}

struct TargetLogprobsFunction : torch::autograd::Function<TargetLogprobsFunction> {
  static Variable forward(AutogradContext* context, const Variable& hidden_in, const Variable& head_in,
                          const Variable& target_ids_in, double temperature, int64_t chunk_bytes,
                          at::ScalarType dtype) {
    TORCH_CHECK(hidden_in.scalar_type() == at::kFloat && head_in.scalar_type() == at::kFloat && head_in.is_cpu(),
                "the output head's weights and hidden states are float32 on the CPU");
    TORCH_CHECK(hidden_in.dim() == 2 && target_ids_in.numel() == hidden_in.size(0), "one target for each hidden state");
    const at::Tensor hidden = hidden_in.to(dtype).contiguous(), head = head_in.to(dtype);
    const at::Tensor target_ids = target_ids_in.contiguous();
    const int64_t vocab_size = head.size(0);
    const int64_t* const targets = target_ids.const_data_ptr<int64_t>();
    for (int64_t row = 0; row < target_ids.numel(); ++row) {
      TORCH_CHECK(targets[row] >= 0 && targets[row] < vocab_size, "target ", targets[row], " is not in the vocabulary");
    }
    const float scale = static_cast<float>(1 / temperature);
    at::Tensor logprobs = at::empty({hidden.size(0)}), log_sum_exps = at::empty({hidden.size(0)});
    float *const out = logprobs.data_ptr<float>(), *const sums = log_sum_exps.data_ptr<float>();
    ForEachLogitsChunk(hidden, head, chunk_bytes, [&](int64_t begin, const at::Tensor& logits) {
      const float* const data = logits.const_data_ptr<float>();
      at::parallel_for(0, logits.size(0), RowsPerThread(vocab_size), [&](int64_t first, int64_t last) {
        for (int64_t row = first; row < last; ++row) {
          const float* const row_logits = data + row * vocab_size;
          const double sum = LogSumExp(row_logits, vocab_size, scale);
          sums[begin + row] = static_cast<float>(sum);
          out[begin + row] = static_cast<float>(static_cast<double>(row_logits[targets[begin + row]]) * scale - sum);
        }
      });
    });
    context->save_for_backward({hidden, head, target_ids, log_sum_exps});
    context->saved_data["scale"] = static_cast<double>(scale);
    context->saved_data["chunk_bytes"] = chunk_bytes;
    return logprobs;
  }

  // d logprob_m / d logit_v = scale * ([v is the target] - softmax_v).
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &hidden = saved[0], &head = saved[1], &target_ids = saved[2], &log_sum_exps = saved[3];
    const float scale = static_cast<float>(context->saved_data["scale"].toDouble());
    const at::Tensor grad = grads[0].contiguous();
    at::Tensor d_hidden = at::empty(hidden.sizes()), d_head = at::zeros(head.sizes());
    const int64_t vocab_size = head.size(0);
    const int64_t* const targets = target_ids.const_data_ptr<int64_t>();
    const float *const sums = log_sum_exps.const_data_ptr<float>(), *const factors = grad.const_data_ptr<float>();
    const int64_t chunk_bytes = context->saved_data["chunk_bytes"].toInt();
    ForEachLogitsChunk(hidden, head, chunk_bytes, [&](int64_t begin, at::Tensor& logits) {
      float* const data = logits.data_ptr<float>();
      at::parallel_for(0, logits.size(0), RowsPerThread(vocab_size), [&](int64_t first, int64_t last) {
        for (int64_t row = first; row < last; ++row) {
          float* const row_logits = data + row * vocab_size;
          const float factor = factors[begin + row] * scale;
          SoftmaxTimes(row_logits, vocab_size, scale, sums[begin + row], factor);
          row_logits[targets[begin + row]] += factor;
        }
      });
      const at::Tensor d_logits = logits.to(hidden.scalar_type());
      MatMulInto(d_logits, head, d_hidden.narrow(0, begin, logits.size(0)));
      MatMulInto(d_logits.t(), hidden.narrow(0, begin, logits.size(0)), d_head, {.accumulate = true});
    });
    return {d_hidden, d_head, Variable(), Variable(), Variable(), Variable()};
  }
};

// The same by ATen's operations, for other devices.
struct DeviceTargetLogprobsFunction : torch::autograd::Function<DeviceTargetLogprobsFunction> {
  static Variable forward(AutogradContext* context, const Variable& hidden_in, const Variable& head_in,
                          const Variable& target_ids, double temperature, int64_t chunk_bytes, at::ScalarType dtype) {
    TORCH_CHECK(hidden_in.scalar_type() == at::kFloat && head_in.scalar_type() == at::kFloat,
                "the output head's weights and hidden states are float32");
    TORCH_CHECK(hidden_in.dim() == 2 && target_ids.numel() == hidden_in.size(0), "one target for each hidden state");
    const at::Tensor hidden = hidden_in.to(dtype).contiguous(), head = head_in.to(dtype);
    const at::Tensor targets = target_ids.reshape({hidden.size(0), 1});  // [M, 1]
    const at::Tensor logprobs = at::empty({hidden.size(0)}, hidden_in.options());
    const at::Tensor log_sum_exps = at::empty({hidden.size(0), 1}, hidden_in.options());
    ForEachLogitsChunk(hidden, head, chunk_bytes, [&](int64_t begin, at::Tensor& logits) {
      const int64_t count = logits.size(0);
      logits.mul_(1 / temperature);
      const at::Tensor of_targets = at::gather(logits, 1, targets.narrow(0, begin, count));  // [C, 1]
      const at::Tensor largest = at::amax(logits, 1, /*keepdim=*/true);
      // In the buffer itself: a second one as large would halve the chunks.
      const at::Tensor sums = at::sum(logits.sub_(largest).exp_(), 1, /*keepdim=*/true).log_().add_(largest);
      log_sum_exps.narrow(0, begin, count).copy_(sums);
      logprobs.narrow(0, begin, count).copy_((of_targets - sums).squeeze(1));
    });
    context->save_for_backward({hidden, head, targets, log_sum_exps});
    context->saved_data["scale"] = 1 / temperature;
    context->saved_data["chunk_bytes"] = chunk_bytes;
    return logprobs;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &hidden = saved[0], &head = saved[1], &targets = saved[2], &log_sum_exps = saved[3];
    const double scale = context->saved_data["scale"].toDouble();
    const at::Tensor factors = (grads[0] * scale).unsqueeze(1);  // [M, 1]
    const at::TensorOptions options = hidden.options().dtype(at::kFloat);
    const at::Tensor d_hidden = at::empty(hidden.sizes(), options), d_head = at::zeros(head.sizes(), options);
    ForEachLogitsChunk(hidden, head, context->saved_data["chunk_bytes"].toInt(),
                       [&](int64_t begin, at::Tensor& logits) {
                         const int64_t count = logits.size(0);
                         const at::Tensor factor = factors.narrow(0, begin, count);
                         logits.mul_(scale).sub_(log_sum_exps.narrow(0, begin, count)).exp_().mul_(factor.neg());
                         logits.scatter_add_(1, targets.narrow(0, begin, count), factor);
                         const at::Tensor d_logits = logits.to(hidden.scalar_type());
                         MatMulInto(d_logits, head, d_hidden.narrow(0, begin, count));
                         MatMulInto(d_logits.t(), hidden.narrow(0, begin, count), d_head, {.accumulate = true});
                       });
    return {d_hidden, d_head, Variable(), Variable(), Variable(), Variable()};
  }
};

}  // namespace

void ForEachLogitsChunk(const at::Tensor& hidden, const at::Tensor& head, int64_t chunk_bytes,
                        absl::FunctionRef<void(int64_t, at::Tensor&)> work) {
  const int64_t num_rows = hidden.size(0), vocab_size = head.size(0);
  if (num_rows == 0) return;
  const int64_t chunk_rows = ChunkRows(num_rows, vocab_size, chunk_bytes);
  // One buffer holds all the logits, one chunk after the other.
  const at::Tensor buffer = at::empty({chunk_rows, vocab_size}, hidden.options().dtype(at::kFloat));
  for (int64_t begin = 0; begin < num_rows; begin += chunk_rows) {
    const int64_t count = std::min(chunk_rows, num_rows - begin);
    at::Tensor logits = buffer.narrow(0, 0, count);
    MatMulInto(hidden.narrow(0, begin, count), head.t(), logits);
    work(begin, logits);
  }
}

at::Tensor TargetLogprobs(const at::Tensor& hidden, const at::Tensor& head, const at::Tensor& target_ids,
                          double temperature, int64_t chunk_bytes, at::ScalarType dtype) {
  if (!hidden.is_cpu()) {
    return DeviceTargetLogprobsFunction::apply(hidden, head, target_ids, temperature, chunk_bytes, dtype);
  }
  return TargetLogprobsFunction::apply(hidden, head, target_ids, temperature, chunk_bytes, dtype);
}

}  // namespace grpo
