// The workers on this machine, whose memory can be seen.
#ifndef GRPO_COORDINATOR_LOCAL_WORKERS_H_
#define GRPO_COORDINATOR_LOCAL_WORKERS_H_

#include <algorithm>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "common/process_memory.h"

namespace grpo {

// Thread-safe.
class LocalWorkers {
 public:
  // Known from now on, also when it has ended; of more than kMax the newest.
  void Note(const ProcessId& process) {
    absl::MutexLock lock(&mutex_);
    if (std::find(workers_.begin(), workers_.end(), process) != workers_.end()) return;
    if (workers_.size() == kMax) workers_.erase(workers_.begin());
    workers_.push_back(process);
  }
  std::vector<ProcessId> All() const {
    absl::MutexLock lock(&mutex_);
    return workers_;
  }

 private:
  static constexpr size_t kMax = 1024;
  mutable absl::Mutex mutex_;
  std::vector<ProcessId> workers_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace grpo

#endif  // GRPO_COORDINATOR_LOCAL_WORKERS_H_
