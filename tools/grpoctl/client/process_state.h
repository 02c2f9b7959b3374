// What the kernel says of a process, for people who ask why it does not answer.
#ifndef GRPO_TOOLS_GRPOCTL_CLIENT_PROCESS_STATE_H_
#define GRPO_TOOLS_GRPOCTL_CLIENT_PROCESS_STATE_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace grpo {

// A sentence without its subject: "is stopped (by SIGSTOP or a debugger): `kill -CONT 77` lets it go on". Nothing when
// this machine has no such process, when it has ended, or when its program's name does not begin with `name`: the
// number may be another's by now. Any thread.
std::optional<std::string> DescribeProcess(int64_t pid, absl::string_view name = "");

// The same from a line of /proc/PID/stat. Pure.
std::optional<std::string> DescribeStat(absl::string_view stat, int64_t pid, absl::string_view name);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_CLIENT_PROCESS_STATE_H_
