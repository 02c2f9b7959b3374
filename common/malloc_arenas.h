// Bounds what glibc's allocator keeps of memory that was freed.
#ifndef GRPO_COMMON_MALLOC_ARENAS_H_
#define GRPO_COMMON_MALLOC_ARENAS_H_

#include <malloc.h>

namespace grpo {

// For a server whose requests are allocated in one thread and freed in another. By default threads have up to eight
// arenas for each core, and what is free in one is of no use to the others: a reward server kept up to 206 MiB after
// load, with two arenas 10 to 19 (tools/bench/reward_bench.cc), and was no slower. Call first in main, before any
// thread. The setting is of the whole process and for good.
inline void LimitMallocArenas() {
  constexpr int kArenas = 2;
  ::mallopt(M_ARENA_MAX, kArenas);
}

}  // namespace grpo

#endif  // GRPO_COMMON_MALLOC_ARENAS_H_
