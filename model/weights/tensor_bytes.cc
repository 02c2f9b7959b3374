#include "model/weights/tensor_bytes.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <cstdint>
#include <cstring>

namespace grpo {

void CopyFromBytes(absl::string_view bytes, at::ScalarType dtype, const at::Tensor& target) {
  if (target.scalar_type() == dtype && target.is_contiguous() && target.is_cpu()) {
    std::memcpy(target.mutable_data_ptr(), bytes.data(), bytes.size());
    return;
  }
  if (reinterpret_cast<uintptr_t>(bytes.data()) % c10::elementSize(dtype) == 0) {
    target.copy_(at::from_blob(const_cast<char*>(bytes.data()), target.sizes(), dtype));
    return;
  }
  // Typed access needs an aligned address.
  const at::Tensor aligned = at::empty(target.sizes(), dtype);
  std::memcpy(aligned.mutable_data_ptr(), bytes.data(), bytes.size());
  target.copy_(aligned);
}

}  // namespace grpo
