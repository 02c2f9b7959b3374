// Log-probabilities of one sequence, for whoever has no batch.
#ifndef GRPO_MODEL_SEQUENCE_LOGPROBS_H_
#define GRPO_MODEL_SEQUENCE_LOGPROBS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "model/transformer.h"

namespace grpo {

// The natural log-probability of each token after the first at temperature 1, [T - 1], float32, on the model's device;
// computed as its placement says, head included. ids: T of at least 2, and at most max_positions + 1. Differentiable
// when the parameters require grad. Misfits end in an exception of torch (TorchGuard).
at::Tensor SequenceLogprobs(const Transformer& model, const std::vector<int64_t>& ids);

}  // namespace grpo

#endif  // GRPO_MODEL_SEQUENCE_LOGPROBS_H_
