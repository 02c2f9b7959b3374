// Weights that a coordinator on this machine lends (coordinator/local_weights.h).
#ifndef GRPO_ROLLOUT_BORROW_WEIGHTS_H_
#define GRPO_ROLLOUT_BORROW_WEIGHTS_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "coordinator/weight_source.h"
#include "proto/types.pb.h"

namespace grpo {

// Borrows this version at the socket; it is given back with the result's end. Nothing of it is verified but that the
// manifest is of this version and fits together, and that the memory cannot be cut off; reading it copies.
//
// NotFound and Unavailable as the coordinator answers them; DataLoss for an answer that is none; PermissionDenied when
// the other end is another user's; other errors when the socket, or the memory, is not to be had from here. Blocks, some
// seconds at most for each step.
absl::StatusOr<std::unique_ptr<WeightSource>> BorrowWeights(const std::string& socket, const v1::PolicyRef& policy);

}  // namespace grpo

#endif  // GRPO_ROLLOUT_BORROW_WEIGHTS_H_
