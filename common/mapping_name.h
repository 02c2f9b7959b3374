// Which file is mapped at an address of this process.
#ifndef GRPO_COMMON_MAPPING_NAME_H_
#define GRPO_COMMON_MAPPING_NAME_H_

#include <cstddef>
#include <cstdint>

namespace grpo {

// Writes the path, cut to `size` bytes and without an end, as /proc/self/maps has it ("/run/shm (deleted)", "[heap]"),
// and returns its length; 0 when nothing is mapped there or it has no name. Async-signal-safe; any thread.
size_t MappingName(uintptr_t address, char* name, size_t size);

}  // namespace grpo

#endif  // GRPO_COMMON_MAPPING_NAME_H_
