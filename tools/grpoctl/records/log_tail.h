// The end of a process's log.
#ifndef GRPO_TOOLS_GRPOCTL_RECORDS_LOG_TAIL_H_
#define GRPO_TOOLS_GRPOCTL_RECORDS_LOG_TAIL_H_

#include <string>
#include <vector>

namespace grpo {

// The last `num_lines` lines of a text file, of its last 64 KiB at most; empty when it cannot be read. Any thread. The
// first of them may be cut where the 64 KiB begin. Bytes as they are: not made printable.
std::vector<std::string> LastLines(const std::string& path, int num_lines);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_RECORDS_LOG_TAIL_H_
