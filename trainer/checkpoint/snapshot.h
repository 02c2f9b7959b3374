// A run's whole state and its form as checkpoint files: safetensors and JSON, nothing executable.
//
//   state.json                    format, cursor, counters, reports of the finished stages
//   config.yaml                   the resolved configuration
//   policy.<id>.json              the policy's manifest; policy.<id>.tokenizer.json, policy.<id>.safetensors its
//   payload optimizer.safetensors         AdamW's moments, while a train stage runs
#ifndef GRPO_TRAINER_CHECKPOINT_SNAPSHOT_H_
#define GRPO_TRAINER_CHECKPOINT_SNAPSHOT_H_

#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/weights/weight_set.h"
#include "nlohmann/json.hpp"

namespace grpo {

// How far a stage has come.
struct StageCursor {
  // Steps done.
  int64_t step = 0;
  // Items read from the stage's data.
  int64_t data_position = 0;
  // Seconds already spent in the stage.
  double seconds = 0;
  // AdamW's state; empty before the first step.
  int64_t optimizer_steps = 0;
  std::map<std::string, at::Tensor> optimizer;
};

// Everything that a resumed run needs to go on as if it had never stopped. What is not here is a pure function of the
// configuration: seeds, data order, sampling.
struct Snapshot {
  std::string run_id;
  std::string resolved_yaml;
  // Starts of the trainer so far.
  int64_t epoch = 1;
  // Checkpoint order: optimizer steps and finished stages so far.
  int64_t sequence = 0;
  // The stage that runs next or goes on.
  int64_t stage_index = 0;
  StageCursor cursor;
  std::vector<WeightSet> policies;
  // One object per finished stage, as in summary.json.
  nlohmann::json stage_reports = nlohmann::json::array();
};

absl::StatusOr<std::map<std::string, std::string>> SnapshotToFiles(const Snapshot& snapshot);
// DataLoss names the file that does not fit.
absl::StatusOr<Snapshot> SnapshotFromFiles(const std::map<std::string, std::string>& files);

}  // namespace grpo

#endif  // GRPO_TRAINER_CHECKPOINT_SNAPSHOT_H_
