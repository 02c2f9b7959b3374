#include "common/http/secret_file.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/files.h"
#include "common/status_macros.h"

namespace grpo::http {

absl::StatusOr<std::string> ReadSecretFile(const std::string& path) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, "stat", path);
  if (!S_ISREG(info.st_mode)) return absl::InvalidArgumentError(absl::StrCat(path, " is no file"));
  if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return absl::PermissionDeniedError(
        absl::StrCat(path, " can be read or written by others than its owner: chmod 600 ", path));
  }
  ASSIGN_OR_RETURN(const std::string content, ReadFile(path, /*max_bytes=*/16 << 10));
  const std::string secret(absl::StripAsciiWhitespace(content));
  if (secret.empty()) return absl::InvalidArgumentError(absl::StrCat(path, " is empty: write the key into it"));
  const auto printable = [](unsigned char c) { return c > ' ' && c < 0x7f; };
  if (!std::all_of(secret.begin(), secret.end(), printable)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " holds more than one word of printable ASCII: write the key into it, and nothing else"));
  }
  return secret;
}

std::string WithoutSecret(std::string text, const std::string& secret) {
  if (secret.empty()) return text;
  return absl::StrReplaceAll(text, {{secret, "***"}});
}

}  // namespace grpo::http
