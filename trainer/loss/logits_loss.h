// A sum over rows of a function of their logits, without the logits of all rows ever being there at once.
#ifndef GRPO_TRAINER_LOSS_LOGITS_LOSS_H_
#define GRPO_TRAINER_LOSS_LOGITS_LOSS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "trainer/loss/loss.h"

namespace grpo {

// What a function makes of C rows of logits.
struct LogitsLoss {
  // Scalar: summed over the rows.
  at::Tensor value;
  // d value / d logits, [C, V] float32.
  at::Tensor gradient;
};

// sum over chunks of function(begin, logits): logits [C, V] float32, before any temperature, are those of the targets
// [begin, begin + C) of `outputs`, which has at least one; the function may change them. Scalar, differentiable once in
// outputs.hidden and outputs.head. A chunk's logits fit chunk_bytes, one row at least.
//
// Gradients are computed on the way, chunk by chunk, since the value is a sum and what weighs a row is known to the
// function: the logits are there once, not a second time for the backward pass. It keeps [M, D] and [V, D] until then.
// The products' operands, those of the gradients too, are rounded to outputs.head_dtype as in TargetLogprobs
// (model/lm_head.h).
at::Tensor SumOverLogits(const TargetOutputs& outputs, int64_t chunk_bytes,
                         absl::FunctionRef<LogitsLoss(int64_t begin, at::Tensor& logits)> function);

// The logits [C, V] of targets [begin, begin + count), float32; for models that are only read.
at::Tensor LogitsOf(const TargetOutputs& outputs, int64_t begin, int64_t count);

}  // namespace grpo

#endif  // GRPO_TRAINER_LOSS_LOGITS_LOSS_H_
