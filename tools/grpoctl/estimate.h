// What a configuration will cost, before anything runs: counts of each stage and bytes of each process. Links no torch.
#ifndef GRPO_TOOLS_GRPOCTL_ESTIMATE_H_
#define GRPO_TOOLS_GRPOCTL_ESTIMATE_H_

#include <string>

#include "absl/status/statusor.h"
#include "model/config.h"
#include "trainer/run_config.h"

namespace grpo {

// The shape of a policy, through initialize_from. NotFound or InvalidArgument when its files or its chain do not hold
// one. Reads config.json and the tokenizer, no weights.
absl::StatusOr<ModelConfig> PolicyShape(const RunConfig& config, const std::string& policy);

// Bytes of one process for one policy; weights, gradients and AdamW in float32.
struct TrainerMemory {
  // Weights, gradients, two moments of AdamW, and room for one more copy of the weights: workers are served from the
  // live ones, but other ranks are sent a copy when a stage begins.
  double weights = 0, gradients = 0, optimizer = 0, published = 0;
  // Kept from forward to backward for one micro-batch: per token and layer 2 D numbers of float32 and about 8 D + 3 I
  // of the compute dtype (with activation checkpointing D of float32, and the rest for one layer only); a chunk of
  // logits; for bfloat16 the layers' rounded weights.
  double activations = 0;
  double Total() const { return weights + gradients + optimizer + published + activations; }
};
// `model` passes Validate. An estimate of what grows with the model and the micro-batch; what the libraries take is not
// in it.
TrainerMemory EstimateTrainer(const ModelConfig& model, const std::string& compute_dtype,
                              const TrainerOptions& options);

// Bytes of one rollout worker for one policy.
struct WorkerMemory {
  // Two sets of weights, since new ones arrive while the old are in use; keys and values of slots x context in every
  // layer.
  double weights = 0, kv_cache = 0;
  double Total() const { return weights + kv_cache; }
};
// For weights in float32.
WorkerMemory EstimateWorker(const ModelConfig& model, const RolloutOptions& options);

// Tables: each stage's batch arithmetic, each policy's memory. Of a configuration that LoadRunConfig made. Errors as
// PolicyShape.
absl::StatusOr<std::string> EstimateText(const RunConfig& config);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_ESTIMATE_H_
