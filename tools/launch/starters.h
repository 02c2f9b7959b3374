// How a launcher tells `grpoctl run --start-with FILE` what starts processes on other machines.
#ifndef GRPO_TOOLS_LAUNCH_STARTERS_H_
#define GRPO_TOOLS_LAUNCH_STARTERS_H_

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "tools/launch/run_plan.h"

namespace grpo {

// {"trainer": {"argv": ["srun", "--nodelist={host}"], "stop_signal": 2, "kill_signal": 15}}, for each role that has
// one. Pure.
std::string StartersJson(const std::map<std::string, Starter>& starters);
// Reads that. argv[0] becomes a path (FindInPath). InvalidArgument when the file is something else or names no role;
// errors as ReadFile and FindInPath. Any thread.
absl::StatusOr<std::map<std::string, Starter>> ReadStarters(const std::string& path);

}  // namespace grpo

#endif  // GRPO_TOOLS_LAUNCH_STARTERS_H_
