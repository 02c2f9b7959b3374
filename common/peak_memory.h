// The most memory that this process has had so far.
#ifndef GRPO_COMMON_PEAK_MEMORY_H_
#define GRPO_COMMON_PEAK_MEMORY_H_

#include <sys/resource.h>

#include <cstdint>

namespace grpo {

// Resident set, in bytes, as the kernel counts it (ru_maxrss, in steps of 1 KiB); pages of mapped files count while
// they are resident. Never falls. Thread-safe.
inline int64_t PeakMemoryBytes() {
  rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;  // Linux counts in KiB
}

}  // namespace grpo

#endif  // GRPO_COMMON_PEAK_MEMORY_H_
