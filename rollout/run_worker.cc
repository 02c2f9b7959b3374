#include "rollout/run_worker.h"

#include <atomic>
#include <memory>
#include <thread>

#include "absl/cleanup/cleanup.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/rpc/status.h"
#include "common/status_macros.h"
#include "common/thread.h"

namespace grpo {
namespace {

// How soon a stop, and the worker's own end, are noticed.
constexpr absl::Duration kWatchInterval = absl::Milliseconds(100);

// A worker's life at `target`, ended by a stop or by a move; Aborted then.
absl::Status RunAt(const CoordinatorPlace& place, const CoordinatorPlace::Target& target,
                   const CoordinatorPlace::Sleep& sleep, const WorkerOptions& options) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Worker> worker, Worker::Create(options));
  std::atomic<bool> done = false;
  const auto is_over = [&] {
    const absl::Duration next_look = Clock::Real().Now() + CoordinatorPlace::kInterval;
    while (!done && Clock::Real().Now() < next_look) {
      if (sleep(kWatchInterval)) return true;
    }
    return !done && place.MovedFrom(target);
  };
  std::thread watch = StartThread("the watch for signals", [&] {
    while (!done && !is_over()) continue;
    if (!done) worker->Stop();
  });
  const absl::Cleanup join = [&] {
    done = true;
    watch.join();
  };
  return worker->Run();
}

}  // namespace

absl::Status RunWorker(const CoordinatorPlace& place, const CoordinatorPlace::Sleep& sleep, WorkerOptions options) {
  while (true) {
    ASSIGN_OR_RETURN(const CoordinatorPlace::Target target, place.Wait(sleep));
    options.coordinator = target.address;
    options.client = target.client;
    const absl::Status status = RunAt(place, target, sleep, options);
    const bool moved = absl::IsAborted(status)  ? place.MovedFrom(target)
                       : rpc::IsRefusal(status) ? place.WaitForMove(target, sleep)
                                                : false;
    if (!moved || sleep(absl::ZeroDuration())) return status;
    spdlog::info("the trainer serves elsewhere now, this worker follows");
  }
}

}  // namespace grpo
