// Requests that are begun in a minute. Links no torch.
#ifndef GRPO_ROLLOUT_ENDPOINT_RATE_LIMITER_H_
#define GRPO_ROLLOUT_ENDPOINT_RATE_LIMITER_H_

#include <algorithm>
#include <cstdint>

#include "absl/time/time.h"

namespace grpo {

// Spreads requests evenly, without bursts: a server that counts in another window than ours never sees more than it
// allows. Pure data; `now` is an argument that never goes back. Thread-compatible.
class RateLimiter {
 public:
  // 0: no limit.
  explicit RateLimiter(int64_t requests_per_minute)
      : interval_(requests_per_minute > 0 ? absl::Minutes(1) / requests_per_minute : absl::ZeroDuration()) {}

  // When the next request may begin, at the earliest; not after `now` when it may at once.
  absl::Duration NextStart() const { return next_; }
  // A request begins, not before NextStart.
  void Start(absl::Duration now) { next_ = std::max(next_, now) + interval_; }
  // Nothing begins before: the server asked for it.
  void HoldUntil(absl::Duration until) { next_ = std::max(next_, until); }

 private:
  const absl::Duration interval_;
  absl::Duration next_ = -absl::InfiniteDuration();
};

}  // namespace grpo

#endif  // GRPO_ROLLOUT_ENDPOINT_RATE_LIMITER_H_
