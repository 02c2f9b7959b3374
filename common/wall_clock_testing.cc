#include "common/wall_clock_testing.h"

#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

namespace {

std::atomic<int64_t> step_seconds{0};

}  // namespace

// These definitions come before the C library's.
extern "C" int clock_gettime(clockid_t clock, timespec* time) noexcept {
  const long failed = ::syscall(SYS_clock_gettime, clock, time);
  if (failed != 0) return -1;
  if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) time->tv_sec += step_seconds.load();
  return 0;
}

extern "C" int gettimeofday(timeval* time, void*) noexcept {
  timespec now = {};
  ::clock_gettime(CLOCK_REALTIME, &now);
  *time = {.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
  return 0;
}

namespace grpo {

WallClockStep::WallClockStep(absl::Duration by) {
  step_seconds = absl::ToInt64Seconds(by);
}

WallClockStep::~WallClockStep() {
  step_seconds = 0;
}

}  // namespace grpo
