#include "model/tensor.h"

#include "absl/strings/str_join.h"

namespace grpo {

absl::Status ExpectShape(const at::Tensor& tensor, at::IntArrayRef shape, const char* name) {
  bool fits = tensor.defined() && tensor.dim() == static_cast<int64_t>(shape.size());
  for (int64_t i = 0; fits && i < tensor.dim(); ++i) fits = shape[i] == -1 || shape[i] == tensor.size(i);
  if (fits) return absl::OkStatus();
  const std::string got = tensor.defined() ? absl::StrCat("[", absl::StrJoin(tensor.sizes(), ", "), "]") : "undefined";
  return absl::InvalidArgumentError(
      absl::StrCat(name, " has shape ", got, ", expected [", absl::StrJoin(shape, ", "), "]"));
}

}  // namespace grpo
