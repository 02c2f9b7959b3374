// One term of the step's loss: a .cc beside this file and a line in losses.inc (loss_plugin.h says what is in it).
// tests/contract/losses_test.cc covers each.
//
// A term reads the targets' log-probabilities and streams, as those of reinforcement learning do; or the distributions
// of policy and teachers over the whole vocabulary (soft_labels), or hidden states (features), which it asks for
// (outputs) and gets as TargetOutputs.
#ifndef GRPO_TRAINER_LOSS_LOSS_H_
#define GRPO_TRAINER_LOSS_LOSS_H_

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/config.h"
#include "model/options.h"
#include "model/transformer.h"
#include "trainer/loss/term.h"

namespace grpo {

// What one model makes of a micro-batch's M targets. Of the trained policy differentiable, of others plain.
struct TargetOutputs {
  // [M, D] float32: behind the final norm, where each target is predicted from.
  at::Tensor hidden;
  // [V, D] float32: what makes logits of them (model/lm_head.h), and the type of that product.
  at::Tensor head;
  at::ScalarType head_dtype = at::kFloat;
  // [M, D] float32 each: what leaves the layers that were asked for, counted from 1; no norm is behind it.
  LayerOutputs layers;
};

// Outputs that a loss reads.
struct NeededOutputs {
  // Key under `policies` of a frozen policy; empty for the one that is trained.
  std::string policy;
  // Counted from 1.
  std::vector<int64_t> layers = {};
};

// What is known of the models before the first step.
struct LossModels {
  const ModelConfig& policy;
  // The frozen ones, by key under `policies`.
  std::map<std::string, const ModelConfig*> frozen;
  // For parameters that begin at random.
  uint64_t seed = 0;
  // Where the models lie, and where parameters are to lie.
  c10::Device device = c10::kCPU;
};

// The M targets of one micro-batch, all on the models' device. References live as long as the call.
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
  // By Loss::outputs, the trained policy's under the empty name.
  const std::map<std::string, TargetOutputs>& outputs;
  // Share of the stage's steps that are done, in [0, 1).
  double done_frac = 0;
  // What may be there of logits at a time.
  int64_t head_chunk_bytes = kDefaultHeadChunkBytes;
};

struct LossOutput {
  // Scalar: the sum over the micro-batch's targets of weight times term. Sums over micro-batches and ranks give the
  // step's loss. Differentiable in policy_logprob.
  at::Tensor loss;
  // Scalars that add up the same way; each is a weighted mean once summed. By the names of trainer/records/metrics.inc;
  // detached. The weights hold the denominators.
  std::map<std::string, at::Tensor> sums;
};

// Pure but for Begin; any thread. What does not fit (a stream that is not there) is a bug and ends in an exception
// (TorchGuard). Nothing in Compute asks a device for a number (.item(), shapes that depend on values): the update waits
// for all of them at once (trainer/loop.h).
class Loss {
 public:
  virtual ~Loss() = default;
  // Once, before anything below: for what depends on the models' shapes. InvalidArgument for options that do not fit
  // them.
  virtual absl::Status Begin(const LossModels& models) { return absl::OkStatus(); }
  // Names of the streams that Compute reads.
  virtual std::vector<std::string> streams() const = 0;
  // Model outputs that it reads beside the log-probabilities.
  virtual std::vector<NeededOutputs> outputs() const { return {}; }
  // Leaves of its own that learn with the policy and require grad, the same on all ranks. They belong to the stage: its
  // optimizer and checkpoints hold them, no export does.
  virtual NamedTensors parameters() const { return {}; }
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
