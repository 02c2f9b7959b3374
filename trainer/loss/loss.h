// One term of the step's loss: a .cc beside this file and a line in losses.inc. tests/contract/losses_test.cc covers
// each.
#ifndef GRPO_TRAINER_LOSS_LOSS_H_
#define GRPO_TRAINER_LOSS_LOSS_H_

#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace grpo {

// What a term may depend on besides its streams.
struct LossOptions {
  double clip_low = 0.2, clip_high = 0.2;
};

struct LossOutput {
  // Scalar: the sum over the micro-batch's targets of weight times term. Sums over micro-batches and ranks give the
  // step's loss.
  at::Tensor loss;
  // Scalars that add up the same way; each is a weighted mean once summed.
  std::map<std::string, at::Tensor> sums;
};

// Pure; any thread.
class Loss {
 public:
  virtual ~Loss() = default;
  // Names of the streams that Compute reads.
  virtual std::vector<std::string> streams() const = 0;
  // policy_logprob [M], requires grad; each stream [M].
  virtual LossOutput Compute(const at::Tensor& policy_logprob,
                             const std::map<std::string, at::Tensor>& streams) const = 0;
};

struct LossInfo {
  std::string name;
  // Whether the term is a policy gradient: with all advantages zero it has no gradient.
  bool policy_gradient = false;
};

// In the order of losses.inc.
const std::vector<LossInfo>& ListLosses();
// InvalidArgument for an unknown name.
absl::StatusOr<std::unique_ptr<Loss>> MakeLoss(const std::string& name, const LossOptions& options);

}  // namespace grpo

#endif  // GRPO_TRAINER_LOSS_LOSS_H_
