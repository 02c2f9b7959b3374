// Parquet files, by Apache Arrow: columns become fields, structs objects, lists lists. No exception leaves this file.
#ifndef GRPO_DATA_PARQUET_H_
#define GRPO_DATA_PARQUET_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "data/record.h"

namespace grpo {

// Whether the content begins as a Parquet file does. Four bytes, "PAR1", decide; the rest may still be damaged.
bool IsParquet(absl::string_view content);

// The rows of a whole file in order. Whole numbers, floats, bools, texts, nulls, lists, structs and maps with texts as
// keys keep their kind; a float32 is the shortest decimal number that reads back as it; a decimal, a date or a time is
// Arrow's text of it; bytes are a text when they are UTF-8. A row with other bytes, nested too deep or with a number
// that JSON has not, is an error of that row. max_bytes bounds the rows, and what is allocated for pages and columns,
// however well the file is packed; it is then InvalidArgument. DataLoss, with the path, for a damaged file. An error of
// `sink` ends the reading and is returned. `content` is not copied and must live until then. Any thread.
absl::Status ReadParquet(absl::string_view content, const std::string& path, int64_t max_bytes, RecordSink sink);

}  // namespace grpo

#endif  // GRPO_DATA_PARQUET_H_
