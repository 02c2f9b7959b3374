#include "rollout/endpoint/retry_policy.h"

#include <algorithm>
#include <string>

#include "absl/strings/numbers.h"

namespace grpo {
namespace {

// RFC 9110, 5.6.7, the form that servers must send.
constexpr char kHttpDate[] = "%a, %d %b %Y %H:%M:%S GMT";

}  // namespace

absl::Duration RetryPolicy::Delay(int64_t failures, std::optional<absl::Duration> asked, double uniform) const {
  absl::Duration delay = first;
  for (int64_t i = 1; i < failures && delay < longest; ++i) delay *= 2;
  delay = std::min(delay, longest) * (1 - uniform / 2);
  return asked.has_value() ? std::max(delay, std::min(*asked, longest_asked)) : delay;
}

std::optional<absl::Duration> ParseRetryAfter(absl::string_view retry_after, absl::string_view date) {
  double seconds = 0;
  // Some servers send fractions.
  if (absl::SimpleAtod(retry_after, &seconds)) {
    if (!(seconds >= 0 && seconds < 1e9)) return std::nullopt;
    return absl::Seconds(seconds);
  }
  absl::Time until, now;
  std::string error;
  if (!absl::ParseTime(kHttpDate, retry_after, &until, &error)) return std::nullopt;
  if (!absl::ParseTime(kHttpDate, date, &now, &error)) return std::nullopt;
  return std::max(absl::ZeroDuration(), until - now);
}

}  // namespace grpo
