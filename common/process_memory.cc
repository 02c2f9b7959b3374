#include "common/process_memory.h"

#include <fstream>
#include <sstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace grpo {
namespace {

std::string ProcPath(int64_t pid, const char* name) {
  return absl::StrCat("/proc/", pid, "/", name);
}

}  // namespace

std::optional<ProcessId> IdentifyProcess(int64_t pid) {
  std::ifstream file(ProcPath(pid, "stat"));
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  // The second field is the program's name in parentheses, and may hold blanks and parentheses itself.
  const size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(line.substr(name_end + 1));
  constexpr int kFirst = 3, kStartTime = 22;  // proc(5) counts from 1
  std::string field;
  for (int number = kFirst; number < kStartTime; ++number) fields >> field;
  int64_t start_ticks = 0;
  if (!(fields >> start_ticks)) return std::nullopt;
  return ProcessId{.pid = pid, .start_ticks = start_ticks};
}

std::optional<int64_t> PeakMemoryOf(const ProcessId& process) {
  if (IdentifyProcess(process.pid) != process) return std::nullopt;
  std::ifstream file(ProcPath(process.pid, "status"));
  for (std::string line; std::getline(file, line);) {
    if (!absl::StartsWith(line, "VmHWM:")) continue;
    std::istringstream fields(line.substr(line.find(':') + 1));
    int64_t kibibytes = 0;
    if (fields >> kibibytes) return kibibytes * 1024;
  }
  return std::nullopt;
}

void ForgetPeakMemory(const ProcessId& process) {
  if (IdentifyProcess(process.pid) == process) std::ofstream(ProcPath(process.pid, "clear_refs")) << "5";
}

}  // namespace grpo
