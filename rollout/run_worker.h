// A worker for as long as its run lasts, wherever the run's coordinator goes.
#ifndef GRPO_ROLLOUT_RUN_WORKER_H_
#define GRPO_ROLLOUT_RUN_WORKER_H_

#include "absl/status/status.h"
#include "common/rpc/coordinator_place.h"
#include "rollout/worker.h"

namespace grpo {

// Makes a worker for the coordinator at `place` and runs it; another when the coordinator has moved, since a trainer
// that was started elsewhere takes no lease of an earlier start anyway. `options.coordinator` and `options.client` are
// `place`'s to say. OK when the run has ended, Aborted when `sleep` said stop, otherwise Worker::Create's and
// Worker::Run's errors; a refusal counts once `place` has not changed for CoordinatorPlace::kStale. Waits for a
// coordinator however long. `sleep` is called by one
// thread at a time, not always the same. Blocks.
absl::Status RunWorker(const CoordinatorPlace& place, const CoordinatorPlace::Sleep& sleep, WorkerOptions options);

}  // namespace grpo

#endif  // GRPO_ROLLOUT_RUN_WORKER_H_
