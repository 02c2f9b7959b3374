#include "reward/repetition.h"

#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"

namespace grpo {

std::vector<uint32_t> WordIds(absl::string_view text) {
  absl::flat_hash_map<std::string, uint32_t> numbers;
  std::vector<uint32_t> ids;
  for (size_t at = 0; at < text.size();) {
    size_t end = at;
    while (end < text.size() && !absl::ascii_isspace(text[end])) ++end;
    if (end > at) {
      const auto number = static_cast<uint32_t>(numbers.size());
      ids.push_back(numbers.emplace(absl::AsciiStrToLower(text.substr(at, end - at)), number).first->second);
    }
    at = end + 1;
  }
  return ids;
}

double RepeatedFrac(absl::Span<const uint32_t> units, int64_t n) {
  const auto length = static_cast<size_t>(n);
  if (units.size() < length) return 0;
  const size_t count = units.size() - length + 1;
  // Keyed by the units' bytes, so that nothing is copied.
  absl::flat_hash_set<absl::string_view> distinct;
  for (size_t i = 0; i < count; ++i) {
    distinct.insert(absl::string_view(reinterpret_cast<const char*>(&units[i]), length * sizeof(uint32_t)));
  }
  return 1 - static_cast<double>(distinct.size()) / static_cast<double>(count);
}

}  // namespace grpo
