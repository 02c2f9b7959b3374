// Where the items of a large file of JSON lines are, and the file that keeps it for the next time: FILE.index beside
// FILE. Nothing here reads the lines themselves (streamed_file.h).
#ifndef GRPO_DATA_LINE_INDEX_H_
#define GRPO_DATA_LINE_INDEX_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace grpo {

struct LineIndex {
  // Of the file's bytes.
  std::string content_sha256;
  // Where each item's line begins, in order, and behind them the file's size: 8 bytes an item. At begins[i + 1], or
  // earlier where lines between the two are no items, line i has ended.
  std::vector<int64_t> begins;
  // {i, n}: from item i on, n lines before an item are no items (empty, or left out). In order; empty where there are
  // none.
  std::vector<std::pair<int64_t, int64_t>> gaps;

  int64_t num_items() const { return static_cast<int64_t>(begins.size()) - 1; }
  // Of the item's line, from 1. O(log gaps).
  int64_t LineNumber(int64_t item) const;
  // Up to `count` items with the longest lines, the longest first; of equal ones the first.
  std::vector<int64_t> LongestItems(int64_t count) const;
};

// The index's file. `key` says what it is of: the file as it is now, and how it is read.
std::string LineIndexText(const LineIndex& index, const std::string& key);
// What LineIndexText wrote. NotFound for one of another key; DataLoss for what is damaged.
absl::StatusOr<LineIndex> ParseLineIndex(absl::string_view text, const std::string& key);

}  // namespace grpo

#endif  // GRPO_DATA_LINE_INDEX_H_
