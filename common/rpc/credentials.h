// What server and client read from files to prove themselves, and what counts as loopback. Thread-safe.
#ifndef GRPO_COMMON_RPC_CREDENTIALS_H_
#define GRPO_COMMON_RPC_CREDENTIALS_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace grpo::rpc {

// Metadata key and value prefix that carry the token.
inline constexpr char kTokenKey[] = "authorization";
inline constexpr char kTokenPrefix[] = "Bearer ";

// Of a file of certificates or a key.
inline constexpr int64_t kMaxPemBytes = 1 << 20;

// The token of a file, without surrounding white space; empty for an empty path. InvalidArgument when the file holds no
// token of printable ASCII without spaces. InvalidArgument also for a file that cannot be read or is above 4 KiB, and
// for one that everybody may write; of one that everybody may read the log warns, once. Messages name the path and
// never hold the token.
absl::StatusOr<std::string> ReadToken(const std::string& path);

// The content of a PEM file; empty for an empty path. InvalidArgument, naming `key`, when the file cannot be read or is
// no PEM. At most kMaxPemBytes; whether it is a key or a certificate is not looked at. With `key` tls_key the file's rights
// are looked at as those of a token.
absl::StatusOr<std::string> ReadPem(absl::string_view key, const std::string& path);

// Whether packets to this host never leave the machine: 127.0.0.0/8, ::1 or localhost. `host` may be in brackets. Other
// names are not looked up: they count as reachable from elsewhere, whatever they resolve to.
bool IsLoopback(absl::string_view host);

}  // namespace grpo::rpc

#endif  // GRPO_COMMON_RPC_CREDENTIALS_H_
