// Where seconds go: a stop watch with laps.
#ifndef GRPO_COMMON_LAP_TIMES_H_
#define GRPO_COMMON_LAP_TIMES_H_

#include <map>
#include <string>

#include "absl/time/time.h"
#include "common/clock.h"

namespace grpo {

// Between Start and the last Lap every moment belongs to exactly one phase. One thread.
class LapTimes {
 public:
  // The clock must outlive this.
  explicit LapTimes(const Clock& clock = Clock::Real()) : clock_(clock) {}

  // The next phase begins now; what was since the last Lap belongs to none.
  void Start() { begin_ = clock_.Now(); }
  // What passed since the last Lap or Start was `phase`, and the next one begins.
  void Lap(const std::string& phase) {
    const absl::Duration now = clock_.Now();
    seconds_[phase] += absl::ToDoubleSeconds(now - begin_);
    begin_ = now;
  }
  void Clear() { seconds_.clear(); }
  // By phase, since the last Clear; those that came several times are added up.
  const std::map<std::string, double>& seconds() const { return seconds_; }

 private:
  const Clock& clock_;
  absl::Duration begin_;
  std::map<std::string, double> seconds_;
};

}  // namespace grpo

#endif  // GRPO_COMMON_LAP_TIMES_H_
