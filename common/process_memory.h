// The memory of another process on this machine, as the kernel tells it to the processes of the same user. Any thread.
#ifndef GRPO_COMMON_PROCESS_MEMORY_H_
#define GRPO_COMMON_PROCESS_MEMORY_H_

#include <cstdint>
#include <optional>

namespace grpo {

// A process: never mistaken for a later one that was given the same number.
struct ProcessId {
  int64_t pid = 0;
  // When it started, in the kernel's ticks since boot.
  int64_t start_ticks = 0;

  friend bool operator==(const ProcessId&, const ProcessId&) = default;
};

// nullopt for a number that no living process here has.
std::optional<ProcessId> IdentifyProcess(int64_t pid);

// The most resident memory that it has had, in bytes, so far or since ForgetPeakMemory; counted as PeakMemoryBytes
// (common/peak_memory.h) counts. nullopt when it has ended.
std::optional<int64_t> PeakMemoryOf(const ProcessId& process);

// The peak is counted anew, from what is resident now. Nothing happens where the kernel does not allow it, or when the
// process has ended.
void ForgetPeakMemory(const ProcessId& process);

}  // namespace grpo

#endif  // GRPO_COMMON_PROCESS_MEMORY_H_
