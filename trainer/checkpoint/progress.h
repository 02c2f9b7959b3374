// What stages and policies say of themselves in a checkpoint. Plain data, without JSON: most of the trainer reads it.
#ifndef GRPO_TRAINER_CHECKPOINT_PROGRESS_H_
#define GRPO_TRAINER_CHECKPOINT_PROGRESS_H_

#include <cstdint>
#include <map>
#include <string>

namespace grpo {

// How far a stage has come.
struct StageProgress {
  // Steps done.
  int64_t step = 0;
  // Items read from the stage's data.
  int64_t data_position = 0;
  // Seconds already spent in the stage.
  double seconds = 0;
  // Updates that the optimizer took over the stage.
  int64_t optimizer_steps = 0;
  // Metrics whose largest value over the stage is in its report, so far.
  std::map<std::string, double> largest = {};
};

// A policy whose weights follow from the configuration and from what that names: made anew, it must have this digest.
struct UntrainedPolicy {
  std::string id;
  // WeightsManifest.digest.
  std::string digest;
  // Where its weights come from, for people: "path /models/base".
  std::string source;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_CHECKPOINT_PROGRESS_H_
