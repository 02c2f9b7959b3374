// The records of a file: JSON lines, a JSON array of objects, or Parquet; the first two gzip'ed or not.
#ifndef GRPO_DATA_FILE_READER_H_
#define GRPO_DATA_FILE_READER_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/record.h"

namespace grpo {

struct FileReadOptions {
  // auto: what the file begins as decides. Otherwise jsonl, json or parquet; what is Parquet and what is not is told
  // apart whatever is written here.
  std::string format = "auto";
  // Of one record's text in JSON.
  int64_t max_record_bytes = 1 << 20;
  // Of the file, unpacked.
  int64_t max_file_bytes = 1 << 30;
};

// Reads every record in order; returns the SHA-256 (hex) of the file's bytes, of the text where it is gzip'ed.
// NotFound, InvalidArgument (too long) and DataLoss (damaged, of another format, or no data at all but a Git LFS
// pointer, a web page, ...) name the path. The file is held in memory while it is read. A record that cannot be used
// goes to `sink` as its error, which decides whether the reading goes on; an error of the sink is returned as it is.
// Empty lines and a byte order mark are passed over.
absl::StatusOr<std::string> ReadRecords(const std::string& path, const FileReadOptions& options, RecordSink sink);

// One line of JSON lines as ReadRecords takes it; blanks at its ends do not count. InvalidArgument for one that is
// longer than max_bytes or no record. Pure.
absl::StatusOr<Json> ParseLine(absl::string_view line, int64_t max_bytes);

// Whether ReadRecords would read a file that begins so as JSON lines that are not gzip'ed. `beginning` is its first
// bytes, 4096 if it has so many; `format` as in FileReadOptions. Pure.
bool BeginsAsJsonLines(absl::string_view beginning, const std::string& format);

}  // namespace grpo

#endif  // GRPO_DATA_FILE_READER_H_
