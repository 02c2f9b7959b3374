// What a run goes on from: the newest whole checkpoint, if it belongs to this configuration and these data. Data that no
// stage has read yet may have been mended.
#ifndef GRPO_TRAINER_RESUME_H_
#define GRPO_TRAINER_RESUME_H_

#include <c10/core/Device.h>

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "trainer/checkpoint/snapshot.h"
#include "trainer/records/data_record.h"
#include "trainer/run_config.h"

namespace grpo {

// That of this process. `world_size`: ranks of the trainer. `device`: what this one computes on; `deterministic`: as
// UseDevice was told. After the number of threads was set.
Environment CurrentEnvironment(int64_t world_size, c10::Device device = c10::kCPU, bool deterministic = true);

// nullopt when run_dir holds no checkpoint. DataLoss when there are some and none is whole; InvalidArgument when the
// configuration is another; FailedPrecondition when it was saved on another kind of device, unless `allow_other_device`:
// what comes next would not be what the run would have become there. A checkpoint from another environment is taken
// otherwise, with a loud line that names what differs. Its policies keep the checkpoint's files mapped.
absl::StatusOr<std::optional<Snapshot>> LoadCheckpoint(const std::string& run_dir, const LoadedConfig& config,
                                                       const Environment& now, bool allow_other_device = false);

// The record of run_dir/data.json, written, for a run that begins or, with `resume`, goes on from `state` (null: from its
// start). A file that has changed and that no finished or begun stage has read is taken, with both hashes in the record
// and in a loud line; DataLoss, saying what to do, for any other that has changed. Runs of older builds have no record:
// there every stage up to the checkpoint's counts as begun.
absl::StatusOr<DataRecord> OpenDataRecord(const std::string& run_dir, const LoadedConfig& config, bool resume,
                                          const CheckpointState* state);

}  // namespace grpo

#endif  // GRPO_TRAINER_RESUME_H_
