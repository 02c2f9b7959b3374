#include "tools/grpoctl/records/log_tail.h"

#include <algorithm>
#include <cstdint>
#include <fstream>

#include "absl/strings/str_split.h"
#include "common/files.h"

namespace grpo {

std::vector<std::string> LastLines(const std::string& path, int num_lines) {
  constexpr int64_t kMaxBytes = 64 << 10;
  // A pipe would be waited for.
  if (!ExpectFile(path).ok()) return {};
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return {};
  const int64_t size = file.tellg();
  const int64_t length = std::min(size, kMaxBytes);
  std::string tail(static_cast<size_t>(length), '\0');
  file.seekg(size - length);
  file.read(tail.data(), length);
  std::vector<std::string> lines = absl::StrSplit(tail, '\n');
  if (!lines.empty() && lines.back().empty()) lines.pop_back();
  if (static_cast<int>(lines.size()) > num_lines) lines.erase(lines.begin(), lines.end() - num_lines);
  return lines;
}

}  // namespace grpo
