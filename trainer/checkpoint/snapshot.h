// A run's whole state and its form as checkpoint files: safetensors and JSON, nothing executable.
//
// - state.json: checkpoint/state.h
// - config.yaml: the resolved configuration
// - policy.<id>.json: the manifest of a policy that was trained; policy.<id>.tokenizer.json,
//   policy.<id>.<companion> and policy.<id>.safetensors its payload. What was never trained is only named, in
//   state.json.
// - optimizer.safetensors: AdamW's moments and the stage's own parameters, while a train stage runs
#ifndef GRPO_TRAINER_CHECKPOINT_SNAPSHOT_H_
#define GRPO_TRAINER_CHECKPOINT_SNAPSHOT_H_

#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/weight_source.h"
#include "trainer/checkpoint/state.h"
#include "trainer/checkpoint/store.h"

namespace grpo {

inline constexpr char kConfigFile[] = "config.yaml";

// Everything that a resumed run needs to go on as if it had never stopped. What is not here is a pure function of the
// configuration: seeds, data order, sampling. Nothing is copied: the weights lie in the policies or in the checkpoint.
struct Snapshot {
  // policy_ids is filled from `policies` when it is written. Read back, it has what the file says.
  CheckpointState state;
  // LoadedConfig::resolved_yaml.
  std::string resolved_yaml;
  // float32, contiguous, on any device; read back, on the CPU. By AdamW::State's names; empty outside of a train stage.
  std::map<std::string, at::Tensor> optimizer;
  // Those that were trained, each once. Of a loaded snapshot they keep the checkpoint's files mapped.
  std::vector<std::shared_ptr<const WeightSource>> policies;
};

// The contents are read when they are written, large ones in parts; until then neither weights nor moments may change.
// The names and bytes of a snapshot's files depend on its values alone. Internal when a manifest cannot be written as
// JSON.
absl::StatusOr<CheckpointFiles> SnapshotToFiles(const Snapshot& snapshot);
// The moments are copied out; the policies are read from the files when they are used, verified once here and, whoever
// uses them, again. DataLoss names the file that does not fit. Reads every byte of the policies once, for their hashes.
absl::StatusOr<Snapshot> SnapshotFromFiles(std::shared_ptr<const CheckpointStore::Loaded> checkpoint);

}  // namespace grpo

#endif  // GRPO_TRAINER_CHECKPOINT_SNAPSHOT_H_
