#include "common/rpc/credentials.h"

#include <arpa/inet.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/files.h"
#include "common/status_macros.h"

namespace grpo::rpc {
namespace {

constexpr int64_t kMaxTokenBytes = 4096;
constexpr int64_t kMaxPemBytes = 1 << 20;

}  // namespace

absl::StatusOr<std::string> ReadToken(const std::string& path) {
  if (path.empty()) return std::string();
  const absl::StatusOr<std::string> content = ReadFile(path, kMaxTokenBytes);
  if (!content.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("token_file: ", content.status().message(),
                     "; create it, for example with `openssl rand -hex 32`, or unset it"));
  }
  const std::string token(absl::StripAsciiWhitespace(*content));
  if (token.empty() || !std::all_of(token.begin(), token.end(), absl::ascii_isgraph)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "token_file ", path, ": must hold one word of printable ASCII, for example `openssl rand -hex 32`"));
  }
  return token;
}

absl::StatusOr<std::string> ReadPem(absl::string_view key, const std::string& path) {
  if (path.empty()) return std::string();
  const absl::StatusOr<std::string> content = ReadFile(path, kMaxPemBytes);
  if (!content.ok()) return absl::InvalidArgumentError(absl::StrCat(key, ": ", content.status().message()));
  if (!absl::StrContains(*content, "-----BEGIN ")) {
    return absl::InvalidArgumentError(absl::StrCat(key, " ", path, ": is not a PEM file (no -----BEGIN line)"));
  }
  return *content;
}

bool IsLoopback(absl::string_view host) {
  if (absl::ConsumePrefix(&host, "[")) absl::ConsumeSuffix(&host, "]");
  const std::string name(host);
  if (name == "localhost") return true;
  in6_addr v6;
  if (inet_pton(AF_INET6, name.c_str(), &v6) == 1) return IN6_IS_ADDR_LOOPBACK(&v6);
  in_addr v4;
  return inet_pton(AF_INET, name.c_str(), &v4) == 1 && (ntohl(v4.s_addr) >> 24) == 127;
}

}  // namespace grpo::rpc
