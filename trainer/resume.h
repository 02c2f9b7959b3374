// What a run goes on from: the newest whole checkpoint, if it belongs to this configuration and these data.
#ifndef GRPO_TRAINER_RESUME_H_
#define GRPO_TRAINER_RESUME_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "trainer/checkpoint/snapshot.h"
#include "trainer/run_config.h"

namespace grpo {

// That of this process. `world_size`: ranks of the trainer. After the number of threads was set.
Environment CurrentEnvironment(int64_t world_size);

// nullopt when run_dir holds no checkpoint. DataLoss when there are some and none is whole, or when a data file is not
// what it was; InvalidArgument when the configuration is another. A checkpoint from another environment is taken, with
// a loud line that names what differs. Its policies keep the checkpoint's files mapped.
absl::StatusOr<std::optional<Snapshot>> LoadCheckpoint(const std::string& run_dir, const LoadedConfig& config,
                                                       const Environment& now);

}  // namespace grpo

#endif  // GRPO_TRAINER_RESUME_H_
