// Files that may be gzip'ed. Thread-safe.
#ifndef GRPO_COMMON_GZIP_H_
#define GRPO_COMMON_GZIP_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace grpo {

// The text of a gzip file (RFC 1952), of all its members. DataLoss for one that is truncated, damaged (its own CRC-32
// and length are compared) or followed by something else; InvalidArgument when the text is longer than max_bytes, which
// also bounds what is allocated, however well the file is packed. ResourceExhausted when zlib has no memory to start.
absl::StatusOr<std::string> Gunzip(absl::string_view packed, int64_t max_bytes);

// The whole file, unpacked when it begins as gzip files do (no text in UTF-8 begins so). max_bytes bounds the file and
// the text. Errors of ReadFile and Gunzip; each names the path. An empty file is an empty text.
absl::StatusOr<std::string> ReadMaybeGzip(const std::string& path, int64_t max_bytes);

}  // namespace grpo

#endif  // GRPO_COMMON_GZIP_H_
