#include "tools/grpoctl/client/log_follower.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tools/grpoctl/records/log_tail.h"
#include "tools/grpoctl/text.h"

namespace grpo {
namespace fs = std::filesystem;

std::vector<std::string> LogFollower::Names() const {
  std::vector<std::string> names;
  std::error_code error, unreadable;
  for (fs::directory_iterator entry(folder_, error), end; !error && entry != end; entry.increment(error)) {
    const fs::path& path = entry->path();
    if (path.extension() == ".log" && absl::StartsWith(path.stem().string(), prefix_) &&
        entry->is_regular_file(unreadable))
      names.push_back(path.stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

absl::Status LogFollower::ShowTails(std::ostream& out, int num_lines) {
  const std::vector<std::string> names = Names();
  if (names.empty()) {
    return absl::NotFoundError(
        absl::StrCat("there is no log ", folder_, "/", prefix_, "*.log: name the run with --run-dir DIR"));
  }
  for (const std::string& name : names) {
    // Measured first: what is added meanwhile is shown twice rather than never.
    std::error_code error;
    const auto size = fs::file_size(Path(name), error);
    for (const std::string& line : LastLines(Path(name), num_lines)) out << name << " | " << Printable(line) << "\n";
    shown_bytes_[name] = error ? 0 : static_cast<int64_t>(size);
  }
  out << std::flush;
  return absl::OkStatus();
}

void LogFollower::ShowNew(std::ostream& out) {
  for (const std::string& name : Names()) {
    int64_t& shown = shown_bytes_[name];
    std::ifstream file(Path(name), std::ios::binary);
    file.seekg(shown);
    for (std::string line; std::getline(file, line);) {
      // Without its end the line is still being written.
      if (file.eof()) break;
      shown += static_cast<int64_t>(line.size()) + 1;
      out << name << " | " << Printable(line) << "\n";
    }
  }
  out << std::flush;
}

}  // namespace grpo
