#include "data/file_reader.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/foreign_content.h"
#include "common/gzip.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "data/parquet.h"

namespace grpo {
namespace {

absl::StatusOr<Json> ParseBounded(absl::string_view text, absl::string_view what, int64_t max_bytes) {
  if (static_cast<int64_t>(text.size()) > max_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, " has ", text.size(), " bytes, allowed are ", max_bytes, ": raise max_line_bytes"));
  }
  return ParseRecord(text, what);
}

absl::Status ReadLines(absl::string_view content, const std::string& path, int64_t max_bytes, RecordSink sink) {
  absl::ConsumePrefix(&content, "\xef\xbb\xbf");
  for (int64_t number = 1; !content.empty(); ++number) {
    const size_t end = std::min(content.find('\n'), content.size());
    const absl::string_view line = absl::StripAsciiWhitespace(content.substr(0, end));
    content.remove_prefix(std::min(end + 1, content.size()));
    if (line.empty()) continue;
    RETURN_IF_ERROR(sink(ParseLine(line, max_bytes),
                         {.text = absl::StrCat(path, ":", number), .id = absl::StrCat("line/", number)}));
  }
  return absl::OkStatus();
}

// Bytes of the value that `text` begins with, up to the comma or bracket that ends it; what stands there is judged by
// the parser later.
size_t ElementBytes(absl::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      ++depth;
    } else if (depth == 0 && (c == ',' || c == ']')) {
      return i;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return text.size();
}

// One element at a time, so that a damaged one costs only itself, and each is judged as a line is.
absl::Status ReadArray(absl::string_view content, const std::string& path, int64_t max_bytes, RecordSink sink) {
  const auto damaged = [&](absl::string_view what) { return absl::DataLossError(absl::StrCat(path, ": ", what)); };
  absl::ConsumePrefix(&content, "\xef\xbb\xbf");
  content = absl::StripAsciiWhitespace(content);
  if (!absl::ConsumePrefix(&content, "[")) {
    return damaged("is no JSON array: a file of format json begins with [; one object a line is format jsonl");
  }
  content = absl::StripLeadingAsciiWhitespace(content);
  if (content == "]") return absl::OkStatus();
  for (int64_t number = 1;; ++number) {
    const size_t size = ElementBytes(content);
    if (size == content.size()) return damaged("the JSON array has no closing ]: the file is cut short");
    RETURN_IF_ERROR(sink(ParseBounded(absl::StripAsciiWhitespace(content.substr(0, size)), "this row", max_bytes),
                         {.text = absl::StrCat(path, ": row ", number), .id = absl::StrCat("row/", number)}));
    const bool is_last = content[size] == ']';
    content.remove_prefix(size + 1);
    if (!is_last) continue;
    return content.empty() ? absl::OkStatus() : damaged("something follows the JSON array");
  }
}

std::string FormatOf(absl::string_view content) {
  if (IsParquet(content)) return "parquet";
  absl::ConsumePrefix(&content, "\xef\xbb\xbf");
  return absl::StartsWith(absl::StripLeadingAsciiWhitespace(content.substr(0, 4096)), "[") ? "json" : "jsonl";
}

}  // namespace

absl::StatusOr<Json> ParseLine(absl::string_view line, int64_t max_bytes) {
  return ParseBounded(absl::StripAsciiWhitespace(line), "this line", max_bytes);
}

bool BeginsAsJsonLines(absl::string_view beginning, const std::string& format) {
  // RFC 1952; no text in UTF-8 begins so.
  const bool packed = absl::StartsWith(beginning, "\x1f\x8b");
  const bool meant = format == "jsonl" || format == "auto";
  return meant && !packed && ForeignContent(beginning).empty() && FormatOf(beginning) == "jsonl";
}

absl::StatusOr<std::string> ReadRecords(const std::string& path, const FileReadOptions& options, RecordSink sink) {
  ASSIGN_OR_RETURN(const std::string content, ReadMaybeGzip(path, options.max_file_bytes));
  if (const std::string foreign = ForeignContent(content); !foreign.empty()) {
    return absl::DataLossError(absl::StrCat(path, ": ", foreign));
  }
  const std::string found = FormatOf(content);
  const std::string format = options.format == "auto" ? found : options.format;
  if ((format == "parquet") != (found == "parquet")) {
    return absl::DataLossError(absl::StrCat(path, ": is ", found == "parquet" ? "a" : "no",
                                            " Parquet file: set format to auto or to what it is"));
  }
  if (format == "parquet") {
    RETURN_IF_ERROR(ReadParquet(content, path, options.max_file_bytes, sink));
  } else if (format == "json") {
    RETURN_IF_ERROR(ReadArray(content, path, options.max_record_bytes, sink));
  } else {
    RETURN_IF_ERROR(ReadLines(content, path, options.max_record_bytes, sink));
  }
  return Sha256Hex(content);
}

}  // namespace grpo
