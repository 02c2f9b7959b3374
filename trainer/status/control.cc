#include "trainer/status/control.h"

#include "common/status_macros.h"
#include "common/stop_signal.h"

namespace grpo {
namespace {

// How long the training thread sleeps before it looks for a signal again.
constexpr absl::Duration kPoll = absl::Milliseconds(100);

}  // namespace

void RunControl::Pause(const std::string& reason) {
  const MutexLock lock(&mutex_);
  paused_ = true;
  if (board_ != nullptr) board_->SetPauseReason(reason);
}

void RunControl::Resume() {
  const MutexLock lock(&mutex_);
  paused_ = false;
  if (board_ != nullptr) board_->SetPauseReason("");
}

void RunControl::Stop() {
  const MutexLock lock(&mutex_);
  stop_ = true;
}

absl::StatusOr<v1::CheckpointStatus> RunControl::SaveCheckpoint(absl::Duration timeout) {
  const MutexLock lock(&mutex_);
  if (ended_) return absl::AbortedError("the run has ended");
  const int64_t request = ++saves_requested_;
  const auto served = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return saves_served_ >= request || ended_; };
  if (!mutex_.AwaitFor(served, timeout)) {
    return absl::DeadlineExceededError(
        "no step ended in time; the checkpoint will still be saved after the current one");
  }
  if (saves_served_ < request) return absl::AbortedError("the run ended before the next step was done");
  return last_save_;
}

absl::Status RunControl::Poll(SaveFunction save) {
  while (true) {
    int64_t to_serve = 0;
    {
      const MutexLock lock(&mutex_);
      const auto woken = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return !paused_ || stop_ || saves_requested_ > saves_served_;
      };
      mutex_.AwaitFor(woken, kPoll);
      if (saves_requested_ > saves_served_) to_serve = saves_requested_;
      if (to_serve == 0) {
        if (stop_ || StopRequested()) break;
        if (!paused_) return absl::OkStatus();
        continue;
      }
    }
    absl::StatusOr<v1::CheckpointStatus> saved = save();
    const MutexLock lock(&mutex_);
    last_save_ = std::move(saved);
    saves_served_ = to_serve;
  }
  const absl::StatusOr<v1::CheckpointStatus> saved = save();
  if (!saved.ok()) return Annotate(saved.status(), "stopped, and the checkpoint could not be saved");
  return absl::AbortedError("stopped before the run's end; `grpoctl run --resume` goes on");
}

bool RunControl::stop_requested() const {
  const MutexLock lock(&mutex_);
  return stop_ || StopRequested();
}

bool RunControl::stopped_by_request() const {
  const MutexLock lock(&mutex_);
  return stop_;
}

void RunControl::End() {
  const MutexLock lock(&mutex_);
  ended_ = true;
}

}  // namespace grpo
