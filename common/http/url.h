// An http or https URL, as far as a caller needs to know it. Links no libcurl.
#ifndef GRPO_COMMON_HTTP_URL_H_
#define GRPO_COMMON_HTTP_URL_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace grpo::http {

// "https://api.example.com/v1/chat": scheme, host and the rest. InvalidArgument, without the URL itself, for another
// scheme, no host, a user or a password inside (they would stand in configurations and logs), blanks or controls.
struct Url {
  bool tls = false;
  // Without brackets and port.
  std::string host = {};
  // Empty when the URL names none.
  std::string port = {};
};
absl::StatusOr<Url> ParseUrl(absl::string_view url);

}  // namespace grpo::http

#endif  // GRPO_COMMON_HTTP_URL_H_
