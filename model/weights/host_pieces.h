// The numbers of tensors that may lie on a device, in this machine's memory: for whoever hashes, saves or sends them.
#ifndef GRPO_MODEL_WEIGHTS_HOST_PIECES_H_
#define GRPO_MODEL_WEIGHTS_HOST_PIECES_H_

#include <ATen/core/Tensor.h>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace grpo {

// Calls `use` with the bytes of a contiguous tensor in order, in the machine's byte order: of a CPU tensor all at once
// and without a copy, of another in pieces of some MiB, of which the next is on its way while one is used. Ends with
// the first error of `use`, and returns it. What torch throws passes through. The tensor must not change meanwhile.
absl::Status ForEachHostPiece(const at::Tensor& tensor, absl::FunctionRef<absl::Status(absl::string_view bytes)> use);

// A contiguous tensor's numbers on the CPU: itself where it is there, else a copy in memory that is not pinned, so that
// it may be large and stay. What torch throws passes through.
at::Tensor OnHost(const at::Tensor& tensor);

}  // namespace grpo

#endif  // GRPO_MODEL_WEIGHTS_HOST_PIECES_H_
