// Calls of functions at a time of the monotonic clock.
#ifndef GRPO_COMMON_ALARM_H_
#define GRPO_COMMON_ALARM_H_

#include <cstdint>
#include <functional>
#include <utility>

#include "absl/time/time.h"

namespace grpo {

// Calls a function once when a time has passed, unless it is gone by then: what bounds a wait that has no timeout of
// its own, or one by the wall clock. All alarms of the process share one thread, which the first one starts.
class Alarm {
 public:
  // `ring` is short and throws nothing: other alarms wait for it. It destroys no alarm.
  Alarm(absl::Duration after, std::function<void()> ring);
  // Waits for a `ring` that is being called; afterwards it is not.
  ~Alarm();
  Alarm(const Alarm&) = delete;
  Alarm& operator=(const Alarm&) = delete;

 private:
  // When, by Clock::Real(), and a number that tells those of one time apart.
  const std::pair<absl::Duration, uint64_t> key_;
};

}  // namespace grpo

#endif  // GRPO_COMMON_ALARM_H_
