// What the run is doing, for whoever asks: stages write it, TrainerService reads it.
#ifndef GRPO_TRAINER_STATUS_STATUS_BOARD_H_
#define GRPO_TRAINER_STATUS_STATUS_BOARD_H_

#include <map>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "coordinator/coordinator.h"
#include "proto/trainer.pb.h"

namespace grpo {

// Thread-safe; a snapshot never waits for a step.
class StatusBoard {
 public:
  // `coordinator` outlives the board; its workers and leases are read at each snapshot. `initial` lists all stages.
  StatusBoard(v1::RunStatus initial, const Coordinator* coordinator, const Clock& clock = Clock::Real());

  // Changes the status and wakes watchers. `change` must not block. It runs under the board's lock.
  void Update(absl::FunctionRef<void(v1::RunStatus&)> change);
  // The same for the running stage's part of it. That is the stage at RunStatus.stage_index, which must exist.
  void UpdateStage(absl::FunctionRef<void(v1::StageStatus&)> change);
  // What is left of the running stage, at the pace of `done` (at least 1) of its steps that took so many seconds.
  void SetRemaining(double seconds, int64_t done, int64_t left);
  // What rank 0 is doing, such as "wait_rollouts".
  void SetPhase(const std::string& phase);
  // Why the run is paused (RunControl's doing); empty when it is not. A running run then shows as PAUSED.
  void SetPauseReason(const std::string& reason);
  // What each rank is doing; a reason that is not empty makes a running run STALLED.
  void SetRanks(std::vector<v1::RankStatus> ranks, const std::string& stall_reason);
  // The newest that was committed. Clears the error of a save.
  void SetCheckpoint(const v1::CheckpointStatus& checkpoint);
  // Why the newest save failed; shown until one succeeds.
  void SetCheckpointError(const std::string& error);

  // What is amiss in one `matter`, in a sentence; empty when nothing is any more. Shown in RunStatus.alerts, by matter.
  void SetAlert(const std::string& matter, const std::string& text);

  // All there is to say, as of now: ages, workers, leases, callers that were refused and what blocks the run included. A RUNNING run is
  // shown as PAUSED while SetPauseReason says so, or while groups are awaited that something has blocked for 3 s, and as STALLED
  // while SetRanks says so. Fits in one message, whatever workers and reward servers say of themselves
  // (RunStatus.num_unlisted), and its texts are UTF-8.
  v1::RunStatus Snapshot() const;
  // Waits at most `timeout` for a change after `sequence`, then returns the newest snapshot. `sequence` is
  // RunStatus.sequence of the snapshot that the caller has.
  v1::RunStatus WaitForChange(int64_t sequence, absl::Duration timeout) const;

 private:
  // Asks the coordinator, which knows nothing of the board.
  v1::RunStatus SnapshotLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Coordinator* const coordinator_;
  const Clock& clock_;
  // When this object was made: elapsed_seconds counts from here.
  const absl::Duration start_;
  mutable Mutex mutex_;
  // Without workers, leases, ages and what the reasons below make of the state: Snapshot adds them. Its sequence counts
  // the changes.
  v1::RunStatus status_ ABSL_GUARDED_BY(mutex_);
  std::string pause_reason_ ABSL_GUARDED_BY(mutex_);
  std::string stall_reason_ ABSL_GUARDED_BY(mutex_);
  // By matter.
  std::map<std::string, std::string> alerts_ ABSL_GUARDED_BY(mutex_);
  // When SetCheckpoint was called.
  absl::Duration checkpoint_at_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace grpo

#endif  // GRPO_TRAINER_STATUS_STATUS_BOARD_H_
