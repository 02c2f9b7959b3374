// The types that our CPU kernels compute with, chosen once for each call.
#ifndef GRPO_MODEL_CPU_TYPES_H_
#define GRPO_MODEL_CPU_TYPES_H_

#include <c10/core/ScalarType.h>
#include <c10/util/BFloat16.h>
#include <c10/util/Exception.h>

namespace grpo {

// Calls body(T()) with float or c10::BFloat16. Another type is a bug of the caller and ends in an exception of torch.
template <typename Body>
void WithCpuType(at::ScalarType dtype, const Body& body) {
  if (dtype == at::kFloat) return body(float());
  TORCH_CHECK(dtype == at::kBFloat16, "this kernel computes with float32 or bfloat16, not with ", at::toString(dtype));
  body(c10::BFloat16());
}

}  // namespace grpo

#endif  // GRPO_MODEL_CPU_TYPES_H_
