#include "common/rpc/credentials.h"

#include <arpa/inet.h>
#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "absl/base/thread_annotations.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "spdlog/spdlog.h"

namespace grpo::rpc {
namespace {

constexpr int64_t kMaxTokenBytes = 4096;

// True the first time for each path: every channel of a process reads the same file.
bool IsNew(const std::string& path) {
  static absl::Mutex mutex(absl::kConstInit);
  static auto* const seen ABSL_GUARDED_BY(mutex) = new std::set<std::string>;
  const absl::MutexLock lock(&mutex);
  return seen->insert(path).second;
}

// Whoever may write the file puts a secret of their own there; whoever may read it has the secret. The group's rights
// are the owner's business: Kubernetes gives a pod its secrets by them.
absl::Status CheckRights(absl::string_view key, const std::string& path) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0) return absl::OkStatus();  // reading it says why
  const std::string what = absl::StrFormat("%s %s has mode %04o: everybody on this machine can", key, path,
                                           info.st_mode & (S_IRWXU | S_IRWXG | S_IRWXO));
  if ((info.st_mode & S_IWOTH) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, " replace it; make a new one, and chmod 600 ", path, " before"));
  }
  if ((info.st_mode & S_IROTH) != 0 && IsNew(path)) spdlog::warn("{} read it; chmod 600 {}", what, path);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> ReadToken(const std::string& path) {
  if (path.empty()) return std::string();
  RETURN_IF_ERROR(CheckRights("token_file", path));
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
  if (key == "tls_key") RETURN_IF_ERROR(CheckRights(key, path));
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
