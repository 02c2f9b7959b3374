// Requests that the training thread obeys between steps: pause, resume, save, stop.
#ifndef GRPO_TRAINER_STATUS_CONTROL_H_
#define GRPO_TRAINER_STATUS_CONTROL_H_

#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/mutex.h"
#include "proto/trainer.pb.h"
#include "trainer/status/status_board.h"

namespace grpo {

// Thread-safe. A signal (common/stop_signal.h) counts as Stop. Requests are only noted; the training thread carries
// them out, within Poll.
class RunControl {
 public:
  using SaveFunction = absl::FunctionRef<absl::StatusOr<v1::CheckpointStatus>()>;

  // `board`, which outlives this, shows why the run is paused; null for nowhere.
  explicit RunControl(StatusBoard* board = nullptr) : board_(board) {}

  // --- Any thread ---
  // `reason` says why and what to do; it is shown until Resume. Takes effect at the next Poll. A second call replaces
  // the reason.
  void Pause(const std::string& reason);
  // Nothing happens to a run that is not paused.
  void Resume();
  // For good: the next Poll saves and ends the run, paused or not.
  void Stop();
  // Waits until the training thread has saved. DeadlineExceeded after `timeout`, Aborted when the run ends first.
  // Otherwise what the save returned. A request that runs into its timeout is served all the same.
  absl::StatusOr<v1::CheckpointStatus> SaveCheckpoint(absl::Duration timeout);

  // --- The training thread ---
  // Called between steps: serves save requests by `save`, sleeps while paused. After a stop was requested: saves, then
  // Aborted. When that last save fails, its error in place of Aborted. Save requests are served while the run is
  // paused, too.
  absl::Status Poll(SaveFunction save);
  // By Stop or by a signal. Any thread.
  bool stop_requested() const;
  // Whether the stop came from Stop() rather than from a signal.
  bool stopped_by_request() const;
  // No more requests are served. Whoever waits in SaveCheckpoint gets Aborted.
  void End();

 private:
  StatusBoard* const board_;
  mutable Mutex mutex_;
  // What was asked for; only Resume clears paused_, and nothing clears the others.
  bool paused_ ABSL_GUARDED_BY(mutex_) = false;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  // Requests made and served; a request is served by the first save that starts after it.
  int64_t saves_requested_ ABSL_GUARDED_BY(mutex_) = 0, saves_served_ ABSL_GUARDED_BY(mutex_) = 0;
  // What the save returned that served saves_served_.
  absl::StatusOr<v1::CheckpointStatus> last_save_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace grpo

#endif  // GRPO_TRAINER_STATUS_CONTROL_H_
