#include "common/gzip.h"

#include <zlib.h>

#include <algorithm>
#include <limits>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/status_macros.h"

namespace grpo {
namespace {

constexpr absl::string_view kMagic = "\x1f\x8b";
// zlib's flag for "gzip, and nothing else".
constexpr int kGzipWindowBits = 16 + MAX_WBITS;

// zlib counts in 32 bits.
uInt Clip(size_t size) {
  return static_cast<uInt>(std::min<size_t>(size, std::numeric_limits<uInt>::max()));
}

// Unpacks one member, appends its text and takes it off `packed`.
absl::Status TakeMember(z_stream& stream, absl::string_view& packed, int64_t max_bytes, std::string& text) {
  char buffer[1 << 16];
  int result = Z_OK;
  while (result != Z_STREAM_END) {
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
    stream.avail_in = Clip(packed.size());
    stream.next_out = reinterpret_cast<Bytef*>(buffer);
    stream.avail_out = sizeof(buffer);
    result = ::inflate(&stream, Z_NO_FLUSH);
    packed.remove_prefix(reinterpret_cast<const char*>(stream.next_in) - packed.data());
    const size_t got = sizeof(buffer) - stream.avail_out;
    if (result == Z_BUF_ERROR) {  // No progress, so there was no input.
      return absl::DataLossError("the gzip file is truncated: it ends in the middle of the data");
    }
    if (result != Z_OK && result != Z_STREAM_END) {
      return absl::DataLossError(
          absl::StrCat("the gzip file is damaged: ", stream.msg != nullptr ? stream.msg : ::zError(result), " after ",
                       text.size(), " bytes of text"));
    }
    if (static_cast<int64_t>(text.size() + got) > max_bytes) {
      return absl::InvalidArgumentError(
          absl::StrCat("the gzip file unpacks to more than ", max_bytes, " bytes, the most that is read here"));
    }
    text.append(buffer, got);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> Gunzip(absl::string_view packed, int64_t max_bytes) {
  z_stream stream = {};
  if (const int result = ::inflateInit2(&stream, kGzipWindowBits); result != Z_OK) {
    return absl::ResourceExhaustedError(absl::StrCat("zlib cannot start: ", ::zError(result)));
  }
  const absl::Cleanup end = [&stream] { ::inflateEnd(&stream); };
  std::string text;
  do {
    RETURN_IF_ERROR(TakeMember(stream, packed, max_bytes, text));
    if (!packed.empty() && !absl::StartsWith(packed, kMagic)) {
      return absl::DataLossError(
          absl::StrCat("the gzip file is followed by ", packed.size(), " bytes of something else"));
    }
    ::inflateReset(&stream);
  } while (!packed.empty());
  return text;
}

absl::StatusOr<std::string> ReadMaybeGzip(const std::string& path, int64_t max_bytes) {
  absl::StatusOr<std::string> content = ReadFile(path, max_bytes);
  if (!content.ok() || !absl::StartsWith(*content, kMagic)) return content;
  absl::StatusOr<std::string> text = Gunzip(*content, max_bytes);
  if (!text.ok()) return Annotate(text.status(), path);
  return text;
}

}  // namespace grpo
