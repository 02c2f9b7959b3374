// state.json of a checkpoint: where the run is, and under which circumstances it came there. Links no torch.
#ifndef GRPO_TRAINER_CHECKPOINT_STATE_H_
#define GRPO_TRAINER_CHECKPOINT_STATE_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"
#include "trainer/checkpoint/progress.h"

namespace grpo {

inline constexpr char kStateFile[] = "state.json";

// What results depend on in their last bits, beside configuration and data. Empty or 0: the checkpoint does not say.
struct Environment {
  // This program and LibTorch.
  std::string build;
  // Ranks of the trainer.
  int64_t world_size = 0;
  // Intra-op threads of each.
  int64_t threads = 0;
  // The instruction set that LibTorch's kernels use, such as "AVX2".
  std::string cpu_capability;
  // Kind of the device that the ranks compute on, "cpu" or "cuda", and rank 0's model, "NVIDIA H200".
  std::string device = {}, device_model = {};
  // Whether a device was held to kernels that give the same bits each time.
  bool deterministic = true;
};

// The kind of device; "cpu" where a checkpoint does not say, for then there was no other.
std::string DeviceOf(const Environment& environment);

// "threads 2, now 1; ..." for whatever both say differently; empty when a resumed run is bitwise the same. What the
// checkpoint does not say counts as the same.
std::string Differences(const Environment& saved, const Environment& now);

// What state.json holds. Plain data.
struct CheckpointState {
  std::string run_id;
  // Starts of the trainer so far. The coordinator's epoch: the next start has one more.
  int64_t epoch = 1;
  // Checkpoint order: optimizer steps and finished stages so far. Only grows, also over stages.
  int64_t sequence = 0;
  // The stage that runs next or goes on; its name is empty when all have run (or in checkpoints of old).
  int64_t stage_index = 0;
  std::string stage;
  // Of that stage; zero where it has not begun.
  StageProgress progress;
  // The policies whose weights the checkpoint holds.
  std::vector<std::string> policy_ids;
  // Those that were made and never trained, which it only names.
  std::vector<UntrainedPolicy> frozen_policies;
  // One object per finished stage, as in summary.json.
  nlohmann::json stage_reports = nlohmann::json::array();
  // Of the resolved configuration.
  std::string config_sha256;
  // DataSource::content_sha256 of each data source that has one.
  std::map<std::string, std::string> data_sha256;
  // Of the process that saved.
  Environment environment;
};

// In the newest format, keys in order, with a newline at the end.
std::string StateToJson(const CheckpointState& state);
// DataLoss when the text is no state of formats 1 to 2. Format 1 names no frozen policies, since it held the weights of
// all; keys that it had not from the start may be missing. Unknown keys are passed over.
absl::StatusOr<CheckpointState> StateFromJson(absl::string_view text);

}  // namespace grpo

#endif  // GRPO_TRAINER_CHECKPOINT_STATE_H_
