// Room on the disk for what a run is known to write: its checkpoints, the policies that it exports, and the most that a
// teacher's top-k can take where the configuration says how much is sampled. Traces and records depend on what is
// sampled. Links no torch.
#ifndef GRPO_TRAINER_DISK_NEED_H_
#define GRPO_TRAINER_DISK_NEED_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "trainer/preflight.h"
#include "trainer/run_config.h"

namespace grpo {

// The most that checkpoints and exports of a run from its start take together at a time: weights and both moments of
// AdamW in float32, checkpoint.keep checkpoints and the one that is being written, stored top-k as if every sample were
// accepted at full length. Errors of Preflight::Shape.
absl::StatusOr<double> DiskNeed(const RunConfig& config, Preflight& preflight);

// What is free for this user where `folder` is, or will be. -1 when the system does not say.
double FreeBytes(const std::string& folder);

// FailedPrecondition, with both numbers, when less than `need_bytes` is free there.
absl::Status CheckDisk(double need_bytes, const std::string& folder);

}  // namespace grpo

#endif  // GRPO_TRAINER_DISK_NEED_H_
