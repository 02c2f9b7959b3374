// What a comparison says, and how much it may cost.
#ifndef GRPO_REWARD_MATH_VERDICT_H_
#define GRPO_REWARD_MATH_VERDICT_H_

#include <time.h>

#include <cstdint>

#include "absl/time/time.h"

namespace grpo::math {

enum class Verdict : uint8_t { kEqual, kDifferent, kUndecided };

// A verdict and the rule that decided, a phrase such as "exact rational arithmetic".
struct Decision {
  Verdict verdict = Verdict::kUndecided;
  const char* rule = "no rule decides it";

  static Decision Equal(const char* rule) { return {Verdict::kEqual, rule}; }
  static Decision Different(const char* rule) { return {Verdict::kDifferent, rule}; }
  static Decision Undecided(const char* rule) { return {Verdict::kUndecided, rule}; }
  bool IsEqual() const { return verdict == Verdict::kEqual; }
  bool IsDifferent() const { return verdict == Verdict::kDifferent; }
};

// The budget of one comparison. Libraries in C cannot be interrupted: sizes are checked before a call, and each call
// spends units (about a microsecond each) that are known before it. The deadline, in time of the thread, is looked at
// then too, but the units are what ends a comparison, so that its verdict does not depend on the machine.
class Work {
 public:
  Work(int64_t max_units, absl::Duration deadline) : units_left_(max_units), deadline_(ThreadTime() + deadline) {}

  // False when the budget is used up; it stays so.
  bool Spend(int64_t units) {
    if (units > units_left_) {
      units_left_ = -1;
      return false;
    }
    units_left_ -= units;
    // The clock is read once in a while, since that costs more than a small step.
    since_clock_ += units;
    if (since_clock_ >= 500) {
      since_clock_ = 0;
      if (ThreadTime() > deadline_) units_left_ = -1;
    }
    return units_left_ >= 0;
  }
  bool exhausted() const { return units_left_ < 0; }

 private:
  static absl::Duration ThreadTime() {
    timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return absl::DurationFromTimespec(now);
  }

  int64_t units_left_, since_clock_ = 0;
  const absl::Duration deadline_;
};

}  // namespace grpo::math

#endif  // GRPO_REWARD_MATH_VERDICT_H_
