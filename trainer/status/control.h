// Requests from outside that the training thread obeys between steps: pause, resume, save, stop.
#ifndef GRPO_TRAINER_STATUS_CONTROL_H_
#define GRPO_TRAINER_STATUS_CONTROL_H_

#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "proto/trainer.pb.h"

namespace grpo {

// Thread-safe. A signal (common/stop_signal.h) counts as Stop.
class RunControl {
 public:
  using SaveFunction = absl::FunctionRef<absl::StatusOr<v1::CheckpointStatus>()>;

  // --- RPC threads ---
  void Pause();
  void Resume();
  void Stop();
  // Waits until the training thread has saved. DeadlineExceeded after `timeout`, Aborted when the run ends first.
  absl::StatusOr<v1::CheckpointStatus> SaveCheckpoint(absl::Duration timeout);

  // --- The training thread ---
  // Called between steps: serves save requests by `save`, sleeps while paused. After a stop was requested: saves, then
  // Aborted.
  absl::Status Poll(SaveFunction save);
  bool stop_requested() const;
  // Whether the stop came from Stop() rather than from a signal.
  bool stopped_by_request() const;
  // No more requests are served.
  void End();

 private:
  mutable absl::Mutex mutex_;
  bool paused_ ABSL_GUARDED_BY(mutex_) = false;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  // Requests made and served; a request is served by the first save that starts after it.
  int64_t saves_requested_ ABSL_GUARDED_BY(mutex_) = 0, saves_served_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::StatusOr<v1::CheckpointStatus> last_save_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace grpo

#endif  // GRPO_TRAINER_STATUS_CONTROL_H_
