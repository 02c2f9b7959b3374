// The memory that workers need for what a stage has them do. Any thread.
#ifndef GRPO_TRAINER_STAGE_WORKER_MEMORY_H_
#define GRPO_TRAINER_STAGE_WORKER_MEMORY_H_

#include <algorithm>
#include <cstdint>
#include <optional>

#include "common/process_memory.h"
#include "coordinator/coordinator.h"

namespace grpo {

// Peaks count from now on. Call it once the workers have begun: a worker that takes over another policy holds both for
// a moment, and that is no part of what the new one needs.
inline void ForgetWorkerPeaks(const Coordinator& coordinator) {
  for (const ProcessId& worker : coordinator.local_workers().All()) ForgetPeakMemory(worker);
}

// The largest peak of a living worker on this machine, in bytes; nullopt where there is none.
inline std::optional<int64_t> LargestWorkerPeak(const Coordinator& coordinator) {
  std::optional<int64_t> largest;
  for (const ProcessId& worker : coordinator.local_workers().All()) {
    const std::optional<int64_t> peak = PeakMemoryOf(worker);
    if (peak.has_value()) largest = std::max(largest.value_or(0), *peak);
  }
  return largest;
}

}  // namespace grpo

#endif  // GRPO_TRAINER_STAGE_WORKER_MEMORY_H_
