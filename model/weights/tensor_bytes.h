// Between tensors and their bytes in files and payloads.
#ifndef GRPO_MODEL_WEIGHTS_TENSOR_BYTES_H_
#define GRPO_MODEL_WEIGHTS_TENSOR_BYTES_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "absl/strings/string_view.h"

namespace grpo {

// The bytes of a contiguous CPU tensor, which must outlive them. In the machine's byte order.
inline absl::string_view BytesOf(const at::Tensor& tensor) {
  return absl::string_view(static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes());
}

// Copies values of `dtype`, row-major at any address, into the target and converts them to its dtype. REQUIRES: as many
// bytes as the target's shape has values. What torch throws passes through.
void CopyFromBytes(absl::string_view bytes, at::ScalarType dtype, const at::Tensor& target);

// Copies `count` values, each side at any address, float32 or bfloat16: between the two, float32 is rounded to the
// nearest bfloat16, ties to even, which is what torch does. On the caller's thread alone. Any thread.
void CopyValues(const void* from, at::ScalarType from_dtype, void* to, at::ScalarType to_dtype, int64_t count);

// Whether none of the values is infinite or NaN. `dtype` is float32, bfloat16 or float16; bytes at any address. Pure.
bool AllFinite(absl::string_view bytes, at::ScalarType dtype);

// How many of the process's threads (model/threads.h) pay for reading and hashing so many bytes. At least 1.
int64_t ThreadsForBytes(int64_t num_bytes);

}  // namespace grpo

#endif  // GRPO_MODEL_WEIGHTS_TENSOR_BYTES_H_
