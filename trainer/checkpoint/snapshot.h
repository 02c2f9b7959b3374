// A run's whole state and its form as checkpoint files: safetensors and JSON, nothing executable.
//
// - state.json: checkpoint/state.h
// - config.yaml: the resolved configuration
// - policy.<id>.json: the policy's manifest; policy.<id>.tokenizer.json and policy.<id>.safetensors its payload
// - optimizer.safetensors: AdamW's moments, while a train stage runs
#ifndef GRPO_TRAINER_CHECKPOINT_SNAPSHOT_H_
#define GRPO_TRAINER_CHECKPOINT_SNAPSHOT_H_

#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/weights/weight_set.h"
#include "trainer/checkpoint/state.h"

namespace grpo {

inline constexpr char kConfigFile[] = "config.yaml";

// Everything that a resumed run needs to go on as if it had never stopped. What is not here is a pure function of the
// configuration: seeds, data order, sampling.
struct Snapshot {
  // policy_ids is filled from `policies` when it is written.
  CheckpointState state;
  std::string resolved_yaml;
  std::map<std::string, at::Tensor> optimizer;
  std::vector<WeightSet> policies;
};

absl::StatusOr<std::map<std::string, std::string>> SnapshotToFiles(const Snapshot& snapshot);
// DataLoss names the file that does not fit.
absl::StatusOr<Snapshot> SnapshotFromFiles(const std::map<std::string, std::string>& files);

}  // namespace grpo

#endif  // GRPO_TRAINER_CHECKPOINT_SNAPSHOT_H_
