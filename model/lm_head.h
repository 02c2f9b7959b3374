// The output head with the log-softmax behind it: log-probabilities of given tokens, without the logits of all tokens
// ever being there at once.
#ifndef GRPO_MODEL_LM_HEAD_H_
#define GRPO_MODEL_LM_HEAD_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "model/options.h"

namespace grpo {

// logprob_m = log_softmax(hidden_m head^T / temperature)[target_ids_m], natural logarithm, in float32; the products'
// operands, and those of the gradients, are rounded to `dtype` first, which is kFloat or kBFloat16 (Placement.head).
//   hidden [M, D], head [V, D], float32; target_ids [M] int64, below V; temperature > 0. Returns [M], differentiable
// once in hidden and head. Rows are taken in chunks whose logits fit chunk_bytes (one row at least); the backward pass
// computes them again, so that beside the result only hidden is kept. All on one device; misfitting shapes are a bug
// and end in an exception of torch, and so do target ids beyond V on the CPU (a device ends the process at them: who
// moved them there has looked). M may be 0. Row m depends on hidden_m, head and target_ids_m only. The host never waits
// for a device.
at::Tensor TargetLogprobs(const at::Tensor& hidden, const at::Tensor& head, const at::Tensor& target_ids,
                          double temperature, int64_t chunk_bytes = kDefaultHeadChunkBytes,
                          at::ScalarType dtype = at::kFloat);

// Calls work(begin, logits) for chunks of rows in order: logits [C, V] float32 of hidden [begin, begin + C) and head,
// before any temperature, in a buffer that work may change and the next chunk overwrites. hidden [M, D] and head [V, D]
// of one type, kFloat or kBFloat16. A chunk's logits fit chunk_bytes, one row at least.
void ForEachLogitsChunk(const at::Tensor& hidden, const at::Tensor& head, int64_t chunk_bytes,
                        absl::FunctionRef<void(int64_t begin, at::Tensor& logits)> work);

}  // namespace grpo

#endif  // GRPO_MODEL_LM_HEAD_H_
