// One term of the step's loss: a .cc beside this file and a line in losses.inc (loss_plugin.h says what is in it).
// tests/contract/losses_test.cc covers each.
#ifndef GRPO_TRAINER_LOSS_LOSS_H_
#define GRPO_TRAINER_LOSS_LOSS_H_

#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "trainer/loss/term.h"

namespace grpo {

// The M targets of one micro-batch. References live as long as the call.
struct LossInput {
  // [M], requires grad. Natural logarithm at the algorithm's temperature, float32.
  const at::Tensor& policy_logprob;
  // At the targets: [M], or [M, width] of a wider stream (trainer/batch/streams.h).
  const std::map<std::string, at::Tensor>& streams;
  // [M] int64: the sequence of the micro-batch that each target belongs to, counted from 0, never falling. A sequence
  // is in one micro-batch as a whole.
  const at::Tensor& sequence_of_target;
  // [M] int64: TokenStreams.group of that sequence. A group may reach over micro-batches and ranks.
  const at::Tensor& group_of_target;
};

struct LossOutput {
  // Scalar: the sum over the micro-batch's targets of weight times term. Sums over micro-batches and ranks give the
  // step's loss. Differentiable in policy_logprob.
  at::Tensor loss;
  // Scalars that add up the same way; each is a weighted mean once summed. By the names of trainer/records/metrics.inc;
  // detached. The weights hold the denominators.
  std::map<std::string, at::Tensor> sums;
};

// Pure; any thread. What does not fit (a stream that is not there) is a bug and ends in an exception (TorchGuard).
class Loss {
 public:
  virtual ~Loss() = default;
  // Names of the streams that Compute reads.
  virtual std::vector<std::string> streams() const = 0;
  // M is at least 1.
  virtual LossOutput Compute(const LossInput& input) const = 0;
};

// An entry of the list.
struct LossInfo {
  std::string name, summary;
  // Whether the term is a policy gradient: with all advantages zero it has no gradient.
  bool policy_gradient = false;
};

// In the order of losses.inc. Any thread.
const std::vector<LossInfo>& ListLosses();
// The loss with these options (configs/load.h). InvalidArgument for an unknown name (the nearest is named), and for
// options that do not fit (the key is named).
absl::StatusOr<std::unique_ptr<Loss>> MakeLoss(const std::string& name, const Section& options = {});
// One for each term. In their order. MakeLoss's errors.
absl::StatusOr<std::vector<std::unique_ptr<Loss>>> MakeLosses(const std::vector<LossTerm>& terms);

// InvalidArgument, with the name, when one of the losses reads a stream that is not there.
absl::Status ExpectStreams(const std::vector<std::unique_ptr<Loss>>& losses,
                           const std::map<std::string, at::Tensor>& streams);

}  // namespace grpo

#endif  // GRPO_TRAINER_LOSS_LOSS_H_
