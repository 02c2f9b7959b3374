// For tests that a computation is linear: on a busy machine only the time that it computed says so. Under sanitizers
// everything takes longer, so bounds leave room.
#ifndef GRPO_COMMON_CPU_TIME_TESTING_H_
#define GRPO_COMMON_CPU_TIME_TESTING_H_

#include <time.h>

#include <chrono>

namespace grpo {

// Of the calling thread since it began.
inline std::chrono::nanoseconds CpuTime() {
  timespec now = {};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

// Whether a sanitizer watches (.bazelrc), under which everything takes ten times longer: texts of megabytes are shorter
// then. Tests that have such ones are tagged `as_built`, and run without sanitizers too.
#ifdef GRPO_SANITIZED
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace grpo

#endif  // GRPO_COMMON_CPU_TIME_TESTING_H_
