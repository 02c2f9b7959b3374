// Where a model lies and what it computes in.
#ifndef GRPO_MODEL_PLACEMENT_H_
#define GRPO_MODEL_PLACEMENT_H_

#include <ATen/core/Tensor.h>

#include "absl/status/status.h"

namespace grpo {

// The embedding, the logits, all vectors (norms, biases), the residual stream and every sum over a row stay float32
// whatever the rest says: what bfloat16 would lose there shows in the log-probabilities
// (arXiv:2506.13585).
struct Placement {
  // Of the weights, of the cache of a model that samples, and of everything that is computed with them.
  at::Device device = at::kCPU;
  // Of the products in the layers: kFloat or kBFloat16.
  at::ScalarType compute = at::kFloat;
  // What the layers' matrices are kept in. kBFloat16 for a model that only samples; a trained one keeps float32, which
  // small updates need, and rounds in each forward pass, to the same numbers. kFloat or kBFloat16.
  at::ScalarType storage = at::kFloat;
  // Of the output head's product: kFloat or kBFloat16. Its weights are kept in float32 and its result is float32.
  at::ScalarType head = at::kFloat;
};

// Unimplemented for a device that this build cannot compute on: any but the CPU. Names it.
absl::Status CheckPlacement(const Placement& placement);

}  // namespace grpo

#endif  // GRPO_MODEL_PLACEMENT_H_
