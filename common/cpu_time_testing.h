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

}  // namespace grpo

#endif  // GRPO_COMMON_CPU_TIME_TESTING_H_
