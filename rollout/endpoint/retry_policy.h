// When a request that failed is tried again. Links no torch.
#ifndef GRPO_ROLLOUT_ENDPOINT_RETRY_POLICY_H_
#define GRPO_ROLLOUT_ENDPOINT_RETRY_POLICY_H_

#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace grpo {

// Plain data; its method is pure.
struct RetryPolicy {
  // After the first failure; doubled after each further one, up to longest.
  absl::Duration first = absl::Milliseconds(500), longest = absl::Seconds(30);
  // What a server asks for is believed up to here.
  absl::Duration longest_asked = absl::Hours(1);

  // After `failures` (at least 1) in a row, and what the server asked for, if it did. `uniform` in [0, 1) spreads the
  // callers of a server that comes back: the delay is scaled by a factor in (0.5, 1], and is never shorter than what
  // was asked for.
  absl::Duration Delay(int64_t failures, std::optional<absl::Duration> asked, double uniform) const;
};

// What Retry-After asks for: seconds, or an HTTP date, which is compared with the answer's own Date, so that nobody's
// clock has to be right. nullopt when it is absent or neither; zero for what has passed. Pure.
std::optional<absl::Duration> ParseRetryAfter(absl::string_view retry_after, absl::string_view date);

}  // namespace grpo

#endif  // GRPO_ROLLOUT_ENDPOINT_RETRY_POLICY_H_
