#include "data/line_index.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <iterator>
#include <queue>

#include "common/sha256.h"
#include "nlohmann/json.hpp"

namespace grpo {
namespace {

using nlohmann::json;

constexpr char kFormat[] = "grpo line index 1";

static_assert(std::endian::native == std::endian::little, "offsets are written as they are in memory");

absl::string_view Bytes(const std::vector<int64_t>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(int64_t)};
}

}  // namespace

int64_t LineIndex::LineNumber(int64_t item) const {
  const auto after = std::upper_bound(gaps.begin(), gaps.end(), item,
                                      [](int64_t wanted, const auto& gap) { return wanted < gap.first; });
  return item + 1 + (after == gaps.begin() ? 0 : std::prev(after)->second);
}

std::vector<int64_t> LineIndex::LongestItems(int64_t count) const {
  // Length, and the item's index negated, so that of equal ones the last is the least.
  using Entry = std::pair<int64_t, int64_t>;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> longest;
  for (int64_t i = 0; i < num_items(); ++i) {
    longest.emplace(begins[static_cast<size_t>(i) + 1] - begins[static_cast<size_t>(i)], -i);
    if (static_cast<int64_t>(longest.size()) > count) longest.pop();
  }
  std::vector<int64_t> items;
  for (; !longest.empty(); longest.pop()) items.push_back(-longest.top().second);
  std::reverse(items.begin(), items.end());
  return items;
}

std::string LineIndexText(const LineIndex& index, const std::string& key) {
  const absl::string_view begins = Bytes(index.begins);
  const json header = {{"format", kFormat},
                       {"key", key},
                       {"content_sha256", index.content_sha256},
                       {"gaps", index.gaps},
                       {"num_items", index.num_items()},
                       {"begins_sha256", Sha256Hex(begins)}};
  std::string text = header.dump() + "\n";
  text.append(begins.data(), begins.size());
  return text;
}

absl::StatusOr<LineIndex> ParseLineIndex(absl::string_view text, const std::string& key) {
  const size_t end = std::min(text.find('\n'), text.size());
  const json header = json::parse(text.begin(), text.begin() + end, nullptr, /*allow_exceptions=*/false);
  const absl::string_view begins = text.substr(std::min(end + 1, text.size()));
  LineIndex index;
  try {
    if (!header.is_object() || header.at("format") != kFormat) return absl::DataLossError("is no index of lines");
    if (header.at("key") != key) return absl::NotFoundError("is of another file, or of one that was read otherwise");
    index.content_sha256 = header.at("content_sha256").get<std::string>();
    index.gaps = header.at("gaps").get<std::vector<std::pair<int64_t, int64_t>>>();
    const auto num_begins = static_cast<size_t>(header.at("num_items").get<int64_t>()) + 1;
    if (num_begins == 0 || begins.size() != num_begins * sizeof(int64_t) ||
        header.at("begins_sha256") != Sha256Hex(begins))
      return absl::DataLossError("is damaged");
    index.begins.resize(num_begins);
  } catch (const json::exception&) {
    return absl::DataLossError("is damaged");
  }
  std::memcpy(index.begins.data(), begins.data(), begins.size());
  return index;
}

}  // namespace grpo
