// The model and the tokenizer of a worker, which live on from version to version.
#ifndef GRPO_ROLLOUT_POLICY_LOADER_H_
#define GRPO_ROLLOUT_POLICY_LOADER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "coordinator/weight_source.h"
#include "model/transformer.h"
#include "model/weights/weight_set.h"
#include "rollout/held_policy.h"

namespace grpo {

// One thread.
class PolicyLoader {
 public:
  // Its models lie on `device`.
  explicit PolicyLoader(at::Device device = at::kCPU) : device_(device) {}

  // Reads and verifies a version, each byte once. `previous`, what this returned last, or null: where the architecture
  // is the same, its model takes the new weights in place, so nothing may sample with it meanwhile; a tokenizer that is
  // the same is not made again. ReadPolicy's errors (model/weights/weight_set.h); after one of them the weights of
  // `previous` may be anything, and it can only be given to another Load.
  absl::StatusOr<HeldPolicy> Load(const WeightSource& source, const HeldPolicy* previous);

 private:
  // A new model_; returns the rest.
  absl::StatusOr<MadePolicy> Make(const WeightSource& source);

  const at::Device device_;
  // Of what Load returned last; null before.
  std::shared_ptr<Transformer> model_;
};

}  // namespace grpo

#endif  // GRPO_ROLLOUT_POLICY_LOADER_H_
