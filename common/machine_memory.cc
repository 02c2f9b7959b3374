#include "common/machine_memory.h"

#include <algorithm>
#include <fstream>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace grpo {
namespace {

// What stands behind `prefix` in the first line that begins with it; nullopt without one. Files of the kernel have no
// size that tells how much there is to read.
std::optional<std::string> LineOf(const std::string& path, absl::string_view prefix) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    absl::string_view rest = line;
    if (absl::ConsumePrefix(&rest, prefix)) return std::string(absl::StripAsciiWhitespace(rest));
  }
  return std::nullopt;
}

// Of a limit, "max" is none.
std::optional<int64_t> NumberOf(absl::string_view text) {
  int64_t number = 0;
  return absl::SimpleAtoi(text, &number) && number > 0 ? std::optional<int64_t>(number) : std::nullopt;
}

}  // namespace

std::optional<int64_t> MachineMemoryBytesUnder(const std::string& root) {
  std::optional<int64_t> least;
  const auto take = [&least](const std::optional<std::string>& text, int64_t unit) {
    const std::optional<int64_t> number = text.has_value() ? NumberOf(*text) : std::nullopt;
    if (number.has_value()) least = least.has_value() ? std::min(*least, *number * unit) : *number * unit;
  };
  if (std::optional<std::string> total = LineOf(root + "/proc/meminfo", "MemTotal:"); total.has_value())
    take(std::string(absl::StripAsciiWhitespace(absl::StripSuffix(*total, "kB"))), 1024);
  // Of cgroup v2, whose line has no number of a hierarchy and no controllers. A container may see its own group as the
  // root, while /proc names the one outside: then only the limits further up are there.
  std::optional<std::string> group = LineOf(root + "/proc/self/cgroup", "0::");
  if (!group.has_value()) return least;
  while (true) {
    while (!group->empty() && group->back() == '/') group->pop_back();
    take(LineOf(root + "/sys/fs/cgroup" + *group + "/memory.max", ""), 1);
    if (group->empty()) return least;
    group->resize(group->rfind('/') == std::string::npos ? 0 : group->rfind('/'));
  }
}

std::optional<int64_t> MachineMemoryBytes() {
  return MachineMemoryBytesUnder("");
}

}  // namespace grpo
