// Several log files as one stream of lines.
#ifndef GRPO_TOOLS_GRPOCTL_CLIENT_LOG_FOLLOWER_H_
#define GRPO_TOOLS_GRPOCTL_CLIENT_LOG_FOLLOWER_H_

#include <cstdint>
#include <map>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace grpo {

// Every line goes out as "NAME | line", made printable: logs may quote completions. One thread.
class LogFollower {
 public:
  // Reads `folder`/*.log whose names start with `prefix`.
  LogFollower(std::string folder, std::string prefix) : folder_(std::move(folder)), prefix_(std::move(prefix)) {}

  // The last lines of each file that there is now, at most 64 KiB each. NotFound when there is none.
  absl::Status ShowTails(std::ostream& out, int num_lines);
  // Whole lines that were added since the last call, also of new files. A line without its end waits for the next call.
  // A file that was never shown is shown from its beginning.
  void ShowNew(std::ostream& out);

 private:
  // Name without .log, in order. Of the files that there are now.
  std::vector<std::string> Names() const;
  std::string Path(const std::string& name) const { return folder_ + "/" + name + ".log"; }

  const std::string folder_, prefix_;
  // Bytes of each file that were shown.
  std::map<std::string, int64_t> shown_bytes_;
};

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_CLIENT_LOG_FOLLOWER_H_
