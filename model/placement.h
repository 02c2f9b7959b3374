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
  // With head kFloat, on accelerators: the product may round its operands to TF32 (8 bits of exponent, 10 of mantissa),
  // which their matrix units multiply several times as fast; sums stay float32. Tf32Scope (model/tf32.h) has it so.
  bool head_tf32 = false;
};

// Unimplemented for a device that this build cannot compute on, FailedPrecondition for one that this process does not
// see, InvalidArgument for one without a number and for head_tf32 on the CPU or with another head than kFloat. Names it.
// Any thread.
absl::Status CheckPlacement(const Placement& placement);

}  // namespace grpo

#endif  // GRPO_MODEL_PLACEMENT_H_
