// What a configuration will cost, before anything runs: counts of each stage and bytes of each process. Links no torch.
#ifndef GRPO_TOOLS_GRPOCTL_ESTIMATE_H_
#define GRPO_TOOLS_GRPOCTL_ESTIMATE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/config.h"
#include "model/options.h"
#include "rollout/options.h"
#include "trainer/memory_need.h"
#include "trainer/preflight.h"
#include "trainer/run_config.h"

namespace grpo {

// Bytes of one rollout worker for one policy.
struct WorkerMemory {
  // The model's, and as many that arrive, where they come by gRPC; its matrices and its head once more in the types in
  // which they are multiplied (PackedWeights; in float32 where the machine multiplies no bfloat16); keys and values of
  // slots x context in every layer.
  double weights = 0, packed = 0, kv_cache = 0;
  double Total() const { return weights + packed + kv_cache; }
};
// For keys and values in float32.
WorkerMemory EstimateWorker(const ModelConfig& model, const PolicyOptions& policy, const RolloutOptions& options);

// Bytes of one rollout worker on its GPU, for one policy.
struct GpuWorkerMemory {
  // The model's, its layers' matrices in what it computes in; keys and values of slots x context in every layer, in
  // that too; a row of logits for each slot and what is drawn from it, about 20 bytes a number.
  double weights = 0, kv_cache = 0, sampling = 0;
  // With what CUDA takes by itself.
  double Total() const { return weights + kv_cache + sampling + kGpuLibrariesBytes; }
};
GpuWorkerMemory EstimateGpuWorker(const ModelConfig& model, const PolicyOptions& policy, const RolloutOptions& options);

// Tables: each stage's batch arithmetic and what its data are like, each policy's memory, on GPUs too where the run may
// take some, and the disk. Of a
// configuration that LoadRunConfig made and `preflight` has checked, which found `checked`; `run_dir` is where the run
// would be. Errors as Preflight::Shape.
absl::StatusOr<std::string> EstimateText(const RunConfig& config, Preflight& preflight,
                                         const std::vector<CheckedData>& checked, const std::string& run_dir);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_ESTIMATE_H_
