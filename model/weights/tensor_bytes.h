// Between tensors and their bytes in files and payloads.
#ifndef GRPO_MODEL_WEIGHTS_TENSOR_BYTES_H_
#define GRPO_MODEL_WEIGHTS_TENSOR_BYTES_H_

#include <ATen/core/Tensor.h>

#include "absl/strings/string_view.h"

namespace grpo {

// The bytes of a contiguous CPU tensor, which must outlive them. In the machine's byte order.
inline absl::string_view BytesOf(const at::Tensor& tensor) {
  return absl::string_view(static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes());
}

// Copies values of `dtype`, row-major at any address, into the target and converts them to its dtype. REQUIRES: as many
// bytes as the target's shape has values. What torch throws passes through.
void CopyFromBytes(absl::string_view bytes, at::ScalarType dtype, const at::Tensor& target);

}  // namespace grpo

#endif  // GRPO_MODEL_WEIGHTS_TENSOR_BYTES_H_
