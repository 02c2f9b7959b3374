#include "rollout/endpoint/verdict.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/http/secret_file.h"
#include "rollout/endpoint/retry_policy.h"

namespace grpo {
namespace {

Verdict::Kind KindOf(const absl::Status& transport) {
  switch (transport.code()) {
    case absl::StatusCode::kCancelled:
      return Verdict::Kind::kCancelled;
    case absl::StatusCode::kFailedPrecondition:
      return Verdict::Kind::kBlocked;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kResourceExhausted:
      return Verdict::Kind::kRefused;
    default:
      return Verdict::Kind::kRetry;
  }
}

Verdict::Kind KindOf(int status, const std::string& body) {
  switch (status) {
    case 401:
    case 402:
    case 403:
    case 407:
      return Verdict::Kind::kBlocked;
    case 408:
    case 409:
    case 425:
      return Verdict::Kind::kRetry;
    case 429:
      return ErrorCode(body) == "insufficient_quota" ? Verdict::Kind::kBlocked : Verdict::Kind::kRetry;
    default:
      return status >= 500 ? Verdict::Kind::kRetry : Verdict::Kind::kRefused;
  }
}

std::string WhatToDo(const EndpointOptions& endpoint, const Verdict& verdict) {
  if (verdict.status >= 300 && verdict.status < 400) {
    return "; redirects are not followed: name the address itself in endpoint.url";
  }
  if (verdict.status == 401 || verdict.status == 403) {
    return endpoint.api_key_file.empty()
               ? "; name a key's file in endpoint.api_key_file"
               : absl::StrCat("; put a key that is good for this into ", endpoint.api_key_file,
                              ", which is read again at every attempt");
  }
  return "";
}

Verdict JudgeAnswer(const EndpointOptions& endpoint, absl::string_view prompt, const std::string& body) {
  absl::StatusOr<Answer> answer = ParseAnswer(endpoint, prompt, body);
  if (!answer.ok()) {
    return {.kind = Verdict::Kind::kRetry,
            .message = std::string(answer.status().message()),
            .answer = {.usage = ParseUsage(body)}};
  }
  const absl::Status model = CheckModel(endpoint, answer->model);
  return {.kind = model.ok() ? Verdict::Kind::kAnswer : Verdict::Kind::kOtherModel,
          .message = std::string(model.message()),
          .answer = *std::move(answer)};
}

}  // namespace

Verdict Judge(const EndpointOptions& endpoint, absl::string_view prompt, const std::string& key,
              absl::StatusOr<http::Response> response) {
  Verdict verdict;
  if (!response.ok()) {
    verdict.kind = KindOf(response.status());
    verdict.message = std::string(response.status().message());
    return verdict;
  }
  if (response->status == 200) {
    verdict = JudgeAnswer(endpoint, prompt, response->body);
    verdict.status = 200;
  } else {
    verdict.kind = KindOf(response->status, response->body);
    verdict.status = response->status;
    verdict.retry_after = ParseRetryAfter(response->Header("retry-after"), response->Header("date"));
    verdict.message =
        absl::StrCat("status ", response->status, ": ", ErrorText(response->body), WhatToDo(endpoint, verdict));
  }
  verdict.message = http::WithoutSecret(std::move(verdict.message), key);
  return verdict;
}

}  // namespace grpo
