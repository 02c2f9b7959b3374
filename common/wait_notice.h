// Says what a process waits for: at once, and again every minute, so that its log shows it however long ago that began.
#ifndef GRPO_COMMON_WAIT_NOTICE_H_
#define GRPO_COMMON_WAIT_NOTICE_H_

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/clock.h"

namespace grpo {

// One thread.
class WaitNotice {
 public:
  static constexpr absl::Duration kInterval = absl::Minutes(1);

  // `clock` outlives this.
  explicit WaitNotice(const Clock& clock = Clock::Real()) : clock_(clock) {}

  // To be called while the wait lasts, which the first call begins; true when it is to be said (again).
  bool Due() {
    const absl::Duration now = clock_.Now();
    if (!since_.has_value()) since_ = now;
    if (said_.has_value() && now - *said_ < kInterval) return false;
    said_ = now;
    return true;
  }
  // " for 3m" once that is worth saying, or nothing.
  std::string For() const {
    const absl::Duration waited = since_.has_value() ? clock_.Now() - *since_ : absl::ZeroDuration();
    if (waited < kInterval) return "";
    return absl::StrCat(" for ", absl::FormatDuration(absl::Trunc(waited, absl::Seconds(1))));
  }
  // It is over; true when there was one.
  bool End() {
    const bool was = since_.has_value();
    since_.reset();
    said_.reset();
    return was;
  }

 private:
  const Clock& clock_;
  // When the wait began, and when it was said last.
  std::optional<absl::Duration> since_, said_;
};

}  // namespace grpo

#endif  // GRPO_COMMON_WAIT_NOTICE_H_
