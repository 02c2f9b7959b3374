// What one attempt at a request came to, and what follows. Pure; any thread. Links no torch.
#ifndef GRPO_ROLLOUT_ENDPOINT_VERDICT_H_
#define GRPO_ROLLOUT_ENDPOINT_VERDICT_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/http/client.h"
#include "model/endpoint_options.h"
#include "rollout/endpoint/answer.h"

namespace grpo {

struct Verdict {
  enum class Kind {
    // `answer` is one.
    kAnswer,
    // It may go well another time: no connection, half an answer, no JSON, 408, 409, 425, 429, 5xx.
    kRetry,
    // It goes well once somebody has done something: a key that is refused (401, 403), an account that is empty (402,
    // or 429 that says so), a certificate that is not believed.
    kBlocked,
    // It never goes well: every other status, an answer that is too large.
    kRefused,
    // An answer of another model: paid for, and refused like that.
    kOtherModel,
    // The caller is ending.
    kCancelled,
  };
  Kind kind = Kind::kRetry;
  // For people, of all but kAnswer and kCancelled; without the key.
  std::string message = {};
  // Of kAnswer and kOtherModel. Of kRetry its usage alone, where the server says what its useless answer cost.
  Answer answer = {};
  // What Retry-After asked for.
  std::optional<absl::Duration> retry_after = {};
  // The server's status; 0 when it said nothing.
  int status = 0;
};

// `prompt` is the request's, and `key` what it was sent with: no message holds it.
Verdict Judge(const EndpointOptions& endpoint, absl::string_view prompt, const std::string& key,
              absl::StatusOr<http::Response> response);

}  // namespace grpo

#endif  // GRPO_ROLLOUT_ENDPOINT_VERDICT_H_
