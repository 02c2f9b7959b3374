// A wall clock that a test can set, in its own process alone: clock_gettime and what is made of it, not the kernel's
// own timers. A wait for an absolute time of the wall clock that begins while the clock is ahead therefore lasts too
// long by as much, as one that was under way does when a machine's clock is set back.
#ifndef GRPO_COMMON_WALL_CLOCK_TESTING_H_
#define GRPO_COMMON_WALL_CLOCK_TESTING_H_

#include "absl/time/time.h"

namespace grpo {

// Sets the wall clock ahead for as long as it lives, or back where `by` is below zero. One at a time.
class WallClockStep {
 public:
  explicit WallClockStep(absl::Duration by);
  ~WallClockStep();
  WallClockStep(const WallClockStep&) = delete;
  WallClockStep& operator=(const WallClockStep&) = delete;
};

}  // namespace grpo

#endif  // GRPO_COMMON_WALL_CLOCK_TESTING_H_
