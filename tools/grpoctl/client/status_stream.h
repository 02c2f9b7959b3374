// WatchStatus as a loop.
#ifndef GRPO_TOOLS_GRPOCTL_CLIENT_STATUS_STREAM_H_
#define GRPO_TOOLS_GRPOCTL_CLIENT_STATUS_STREAM_H_

#include <functional>
#include <memory>
#include <optional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/mutex.h"
#include "proto/trainer.pb.h"
#include "tools/grpoctl/client/connection.h"

namespace grpo {

// Reads a run's status snapshots until it has ended. Thread-safe. One Read at a time.
class StatusStream {
 public:
  // `connection` outlives it.
  explicit StatusStream(const TrainerConnection& connection) : connection_(connection) {}

  // Calls on_status for each snapshot. OK after a terminal one; Cancelled after Cancel; otherwise the call's error
  // (Explain). The call is renewed when its deadline passes, so that a run may last longer than any deadline.
  // Unavailable, too, when the stream ends without one. `on_status` is called from the calling thread.
  absl::Status Read(absl::Duration min_interval, const std::function<void(const v1::RunStatus&)>& on_status);
  // Ends a Read that is under way, and every later one.
  void Cancel();

 private:
  const TrainerConnection& connection_;
  absl::Mutex mutex_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  // The call under way, for Cancel; null between calls.
  grpc::ClientContext* context_ ABSL_GUARDED_BY(mutex_) = nullptr;
};

// The exit code of a verb that followed a run which ended in this state: 0, 75 when it can go on, 1. Pure.
int ExitCodeOf(v1::RunState state);

// Keeps the newest snapshot of a run in a thread of its own; a trainer that is away is asked again. Thread-safe.
class BackgroundStatus {
 public:
  explicit BackgroundStatus(TrainerConnection connection);
  // Cancels the call that is under way and joins the thread.
  ~BackgroundStatus();

  // The newest snapshot that was not taken before. Snapshots that came between two calls are lost but for the last.
  // Never waits.
  std::optional<v1::RunStatus> Take();

 private:
  // The thread: reads a stream, and after an error waits and opens another.
  void Run();

  const TrainerConnection connection_;
  StatusStream stream_;
  absl::Mutex mutex_;
  std::optional<v1::RunStatus> newest_ ABSL_GUARDED_BY(mutex_);
  Notification ending_;
  std::thread thread_;
};

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_CLIENT_STATUS_STREAM_H_
