// What a configuration will cost, before anything runs: counts of each stage and bytes of each process. Links no torch.
#ifndef GRPO_TOOLS_GRPOCTL_ESTIMATE_H_
#define GRPO_TOOLS_GRPOCTL_ESTIMATE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/config.h"
#include "trainer/preflight.h"
#include "trainer/run_config.h"

namespace grpo {

// Bytes of one process for one policy; weights, gradients and AdamW in float32.
struct TrainerMemory {
  // Weights, gradients, two moments of AdamW.
  double weights = 0, gradients = 0, optimizer = 0;
  // Kept from forward to backward for one micro-batch: per token and layer 2 D numbers of float32 and about 8 D + 3 I
  // of the compute dtype (with activation checkpointing D of float32, and the rest for one layer only); a chunk of
  // logits; for bfloat16 the layers' rounded weights.
  double activations = 0;
  double Total() const { return weights + gradients + optimizer + activations; }
};
// `model` passes Validate. An estimate of what grows with the model and the micro-batch; what the libraries take is not
// in it.
TrainerMemory EstimateTrainer(const ModelConfig& model, const std::string& compute_dtype,
                              const TrainerOptions& options);

// Bytes of the two buffers from which workers on rank 0's machine read weights, whatever the number of workers
// (coordinator/local_weights.h): the layers' matrices in the compute dtype, all else in float32.
double EstimateWeightBuffers(const ModelConfig& model, const std::string& compute_dtype);

// Bytes of one rollout worker for one policy.
struct WorkerMemory {
  // The model's, and as many that arrive, where they come by gRPC; keys and values of slots x context in every layer.
  double weights = 0, kv_cache = 0;
  double Total() const { return weights + kv_cache; }
};
// For weights in float32.
WorkerMemory EstimateWorker(const ModelConfig& model, const RolloutOptions& options);

// Tables: each stage's batch arithmetic and what its data are like, each policy's memory, and the disk. Of a
// configuration that LoadRunConfig made and `preflight` has checked, which found `checked`; `run_dir` is where the run
// would be. Errors as Preflight::Shape.
absl::StatusOr<std::string> EstimateText(const RunConfig& config, Preflight& preflight,
                                         const std::vector<CheckedData>& checked, const std::string& run_dir);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_ESTIMATE_H_
