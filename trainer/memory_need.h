// Memory of the trainer's ranks: what the policies of each stage take, and whether this machine has what no run of the
// configuration does without. Links no torch.
#ifndef GRPO_TRAINER_MEMORY_NEED_H_
#define GRPO_TRAINER_MEMORY_NEED_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/config.h"
#include "model/options.h"
#include "trainer/options.h"
#include "trainer/preflight.h"
#include "trainer/run_config.h"

namespace grpo {

// --- One policy in one rank; of models that pass Validate. What the libraries take is not in it ---

// Bytes for the policy that is trained; weights, gradients and AdamW in float32.
struct TrainerMemory {
  // Weights, gradients, two moments of AdamW.
  double weights = 0, gradients = 0, optimizer = 0;
  // Kept from forward to backward for one micro-batch: per token and layer 2 D numbers of float32 and about 8 D + 3 I
  // of the compute dtype (with activation checkpointing D of float32, and the rest for one layer only); a chunk of
  // logits; for bfloat16 the layers' matrices once more, rounded (with activation checkpointing those of one layer);
  // the head, rounded, where head_dtype says so.
  double activations = 0;
  // What is there for as long as the stage runs.
  double Held() const { return weights + gradients + optimizer; }
  double Total() const { return Held() + activations; }
};
// An estimate of what grows with the model and the micro-batch.
TrainerMemory EstimateTrainer(const ModelConfig& model, const PolicyOptions& policy, const TrainerOptions& options);

// Bytes for a policy that is only read: a reference, a teacher.
struct FrozenMemory {
  // In float32, whatever it computes in.
  double weights = 0;
  // While it reads a micro-batch, about: the numbers of one layer; D of float32 per token for its last hidden states
  // and for each layer whose outputs losses read; for bfloat16 the largest matrix once more, rounded, since each is for
  // one product only; the head, rounded, where head_dtype says so.
  double activations = 0;
};
FrozenMemory EstimateFrozen(const ModelConfig& model, const PolicyOptions& policy, const TrainerOptions& options,
                            int64_t num_layers_read);

// Bytes of the weights as workers get them: the layers' matrices in the compute dtype, all else in float32.
double EstimateSentWeights(const ModelConfig& model, const std::string& compute_dtype);
// Bytes of the two buffers from which workers on rank 0's machine read weights, whatever the number of workers
// (coordinator/local_weights.h).
double EstimateWeightBuffers(const ModelConfig& model, const std::string& compute_dtype);

// --- A stage ---

// A policy that a stage only reads.
struct FrozenNeed {
  std::string policy;
  // The stage's key that names it: "teachers.0.policy".
  std::string key;
  FrozenMemory memory;
};

struct StageMemory {
  std::string stage;
  // What it trains; empty, and no bytes, for a stage that trains nothing.
  std::string trained = {};
  TrainerMemory trainer = {};
  // The stage's own parameters (projections between layers of different widths), with gradients and moments.
  double own_parameters = 0;
  std::vector<FrozenNeed> frozen = {};
  // Weights of other policies: none is freed once it is made (trainer/policies.h). Rank 0 has all that were used so far
  // and what they were initialised from, the other ranks those of `train` stages.
  double kept_by_rank_0 = 0, kept_by_others = 0;

  // Bytes without which no run does, in so many ranks of one machine, rank 0 among them: weights, gradients, moments.
  double AtLeast(int64_t num_ranks) const;
  // Bytes of rank 0, of all ranks the one that needs most, with what is there for a micro-batch.
  double OfRankZero() const;
};

// Of each stage from `first_stage` on, for a run that begins there; what stages before it made is in rank 0 too. Errors
// of Preflight::Shape.
absl::StatusOr<std::vector<StageMemory>> StageMemories(const RunConfig& config, Preflight& preflight,
                                                       int64_t first_stage = 0);

// The one of them that needs most in so many ranks of one machine; an empty one without stages.
absl::StatusOr<StageMemory> MemoryNeed(const RunConfig& config, Preflight& preflight, int64_t num_ranks,
                                       int64_t first_stage = 0);

// What models lie in.
struct MemoryPlace {
  // All of it (common/machine_memory.h), where that is known.
  std::optional<int64_t> bytes;
  // What a message calls it.
  std::string name = "this machine";
};

// FailedPrecondition, with both numbers and the largest policy, when the stage needs more than there is; OK where that
// is not known.
absl::Status CheckMemory(const StageMemory& need, int64_t num_ranks, const MemoryPlace& place);
// The same of every stage from `first_stage` on: the first that needs too much is named. Errors of StageMemories.
absl::Status CheckMemories(const RunConfig& config, Preflight& preflight, int64_t num_ranks, const MemoryPlace& place,
                           int64_t first_stage = 0);

// --- On GPUs, one rank each ---

// Bytes on the GPU of a rank, in the stage that needs most: what StageMemory names, and what CUDA and its libraries take
// of each GPU by themselves. Errors of StageMemories.
absl::StatusOr<double> RankGpuBytes(const RunConfig& config, Preflight& preflight);
// Context, kernels and workspaces of a process on a GPU, about.
inline constexpr double kGpuLibrariesBytes = 1.5 * (1 << 30);

}  // namespace grpo

#endif  // GRPO_TRAINER_MEMORY_NEED_H_
