#include "common/http/url.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace grpo::http {

absl::StatusOr<Url> ParseUrl(absl::string_view url) {
  Url parsed;
  absl::string_view rest = url;
  if (absl::ConsumePrefix(&rest, "https://")) {
    parsed.tls = true;
  } else if (!absl::ConsumePrefix(&rest, "http://")) {
    return absl::InvalidArgumentError("is no URL that begins with https:// or http://");
  }
  const bool blank = std::any_of(rest.begin(), rest.end(), [](unsigned char c) { return c <= ' ' || c == 0x7f; });
  if (blank) return absl::InvalidArgumentError("holds a blank or a control character");
  const absl::string_view authority = rest.substr(0, rest.find_first_of("/?#"));
  if (absl::StrContains(authority, "@")) {
    return absl::InvalidArgumentError(
        "names a user or a password; put the key into a file and name that in api_key_file");
  }
  // An IPv6 address stands in brackets.
  const size_t bracket = authority.rfind(']');
  const size_t colon = authority.rfind(':');
  const bool has_port = colon != absl::string_view::npos && (bracket == absl::string_view::npos || colon > bracket);
  absl::string_view host = has_port ? authority.substr(0, colon) : authority;
  if (absl::ConsumePrefix(&host, "[")) absl::ConsumeSuffix(&host, "]");
  int port = 0;
  if (has_port && (!absl::SimpleAtoi(authority.substr(colon + 1), &port) || port < 1 || port > 65535))
    return absl::InvalidArgumentError("has a port that is none; take 1 to 65535");
  if (host.empty()) return absl::InvalidArgumentError("names no host");
  parsed.host = std::string(host);
  if (has_port) parsed.port = absl::StrCat(port);
  return parsed;
}

}  // namespace grpo::http
