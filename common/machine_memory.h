// The memory that this machine, or the container that this process runs in, has for programs.
#ifndef GRPO_COMMON_MACHINE_MEMORY_H_
#define GRPO_COMMON_MACHINE_MEMORY_H_

#include <cstdint>
#include <optional>
#include <string>

namespace grpo {

// In bytes: the least of MemTotal (/proc/meminfo) and the limits (memory.max, cgroup v2) of this process's group and of
// those around it. Swap does not count: weights that are swapped out and in at every step are no use. nullopt when the
// system says none of them. Any thread.
std::optional<int64_t> MachineMemoryBytes();

// The same of the files under `root`, which stands in the place of /.
std::optional<int64_t> MachineMemoryBytesUnder(const std::string& root);

}  // namespace grpo

#endif  // GRPO_COMMON_MACHINE_MEMORY_H_
