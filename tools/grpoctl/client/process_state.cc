#include "tools/grpoctl/client/process_state.h"

#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace grpo {

std::optional<std::string> DescribeStat(absl::string_view stat, int64_t pid, absl::string_view name) {
  // "77 (trainer) T 1 ...": the name may hold blanks and parentheses itself.
  const size_t name_begin = stat.find('('), name_end = stat.rfind(')');
  if (name_begin == absl::string_view::npos || name_end == absl::string_view::npos || name_end + 2 >= stat.size())
    return std::nullopt;
  if (!absl::StartsWith(stat.substr(name_begin + 1, name_end - name_begin - 1), name)) return std::nullopt;
  switch (stat[name_end + 2]) {
    case 'Z':
    case 'X':
      return std::nullopt;
    case 'T':
    case 't':
      return absl::StrCat("is stopped (by SIGSTOP or a debugger): `kill -CONT ", pid, "` lets it go on");
    case 'D':
      return "waits for a disk or a network file system";
    default:
      return absl::StrCat("lives: `kill -QUIT ", pid, "` writes what it waits for into its log");
  }
}

std::optional<std::string> DescribeProcess(int64_t pid, absl::string_view name) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  std::string stat;
  if (pid <= 0 || !std::getline(file, stat)) return std::nullopt;
  return DescribeStat(stat, pid, name);
}

}  // namespace grpo
