// The legend of tensor shapes, checks of them, and the guard where torch's exceptions end.
//
//   B rows   T positions of a row   N packed tokens (all rows of a micro-batch, back to back)   V vocabulary
//   D hidden size   H query heads   Hkv key-value heads   K head size   S slots of a KV cache   L layers   G group size
//
// Every tensor in this project carries its shape in a comment, and its dtype unless that is float32. Position t
// predicts token t+1.
#ifndef GRPO_MODEL_TENSOR_H_
#define GRPO_MODEL_TENSOR_H_

#include <ATen/core/Tensor.h>

#include <exception>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace grpo {

// InvalidArgument unless the tensor has this shape; -1 matches any size. An undefined tensor has no shape. Neither
// dtype nor device is looked at. `name` is what the message calls it.
absl::Status ExpectShape(const at::Tensor& tensor, at::IntArrayRef shape, const char* name);

// Runs `body` (returning absl::Status or absl::StatusOr<T>) and turns what torch throws into Internal with torch's
// first line. Nothing that `body` throws and derives from std::exception passes; memory that runs out is Internal too.
template <typename Body>
auto TorchGuard(Body&& body) -> decltype(body()) {
  try {
    return body();
  } catch (const std::exception& error) {
    const std::string what = error.what();
    return absl::InternalError(absl::StrCat("torch: ", what.substr(0, what.find('\n'))));
  }
}

}  // namespace grpo

#endif  // GRPO_MODEL_TENSOR_H_
