// Monotonic time, replaceable in tests. No decision in this project reads the wall clock.
#ifndef GRPO_COMMON_CLOCK_H_
#define GRPO_COMMON_CLOCK_H_

#include <atomic>
#include <chrono>

#include "absl/time/time.h"

namespace grpo {

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  // Since an arbitrary, fixed point; never goes back. Only differences of two calls on the same clock mean anything.
  virtual absl::Duration Now() const = 0;

  // The process's steady clock. Lives for ever.
  static const Clock& Real();
};

// Stands still until advanced. Thread-safe.
class FakeClock : public Clock {
 public:
  absl::Duration Now() const override { return absl::Nanoseconds(nanoseconds_.load()); }
  // `by` is not negative, or time would go back. Wakes nobody: who waits on real time waits on.
  void Advance(absl::Duration by) { nanoseconds_ += absl::ToInt64Nanoseconds(by); }

 private:
  std::atomic<int64_t> nanoseconds_{0};
};

inline const Clock& Clock::Real() {
  class SteadyClock : public Clock {
    absl::Duration Now() const override {
      return absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
    }
  };
  static const SteadyClock* clock = new SteadyClock;
  return *clock;
}

}  // namespace grpo

#endif  // GRPO_COMMON_CLOCK_H_
