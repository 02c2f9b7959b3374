#include "tools/doctor/mounts.h"

#include <algorithm>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

namespace grpo {
namespace {

// The kernel writes blanks and backslashes of a path in octal.
std::string Unescaped(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"\\040", " "}, {"\\011", "\t"}, {"\\012", "\n"}, {"\\134", "\\"}});
}

bool IsUnder(absl::string_view path, absl::string_view folder) {
  if (folder == "/") return true;
  return path == folder || (absl::StartsWith(path, folder) && path[folder.size()] == '/');
}

}  // namespace

bool Mount::IsNetwork() const {
  static const auto* const network =
      new std::set<std::string>{"nfs", "nfs4", "cifs", "smb3", "9p", "lustre", "ceph", "gpfs", "beegfs", "afs"};
  return network->count(type) > 0 || absl::StartsWith(type, "fuse");
}

Mount MountOf(absl::string_view mountinfo, absl::string_view path) {
  Mount best;
  // "36 35 98:0 /root /mnt rw,noatime master:1 - ext3 /dev/root rw,errors=continue"
  for (const absl::string_view line : absl::StrSplit(mountinfo, '\n')) {
    const std::vector<absl::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    const auto dash = std::find(words.begin(), words.end(), "-");
    if (words.size() < 6 || words.end() - dash < 2) continue;
    const std::string point = Unescaped(words[4]);
    // Of two at the same place the later one covers the other.
    if (!IsUnder(path, point) || point.size() < best.point.size()) continue;
    best = {.type = std::string(dash[1]), .point = point, .options = absl::StrSplit(words[5], ',')};
    if (words.end() - dash < 4) continue;
    for (const absl::string_view option : absl::StrSplit(dash[3], ',')) best.options.insert(std::string(option));
  }
  return best;
}

}  // namespace grpo
