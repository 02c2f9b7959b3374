// Ends a fuzz target that allocates more at once than its input warrants. Only under AddressSanitizer, whose hooks see
// every allocation.
#ifndef GRPO_TESTS_FUZZ_ALLOCATION_LIMIT_H_
#define GRPO_TESTS_FUZZ_ALLOCATION_LIMIT_H_

#include <sanitizer/allocator_interface.h>

#include <atomic>
#include <cstddef>
#include <cstdio>
#include <cstdlib>

namespace grpo {

inline std::atomic<size_t> g_allocation_limit{0};  // 0: none

inline void CheckAllocation(const volatile void* /*pointer*/, size_t size) {
  const size_t limit = g_allocation_limit.load();
  if (limit == 0 || size <= limit) return;
  g_allocation_limit = 0;  // for what follows
  std::fprintf(stderr, "allocates %zu bytes at once; the input warrants %zu\n", size, limit);
  std::abort();
}

// While it lives, an allocation above 32 bytes for each byte of input (a JSON value of one digit takes 16, and lists
// double) and some kilobytes ends the process.
class AllocationLimit {
 public:
  explicit AllocationLimit(size_t input_bytes) {
    static const int kInstalled [[maybe_unused]] =
        __sanitizer_install_malloc_and_free_hooks(CheckAllocation, [](const volatile void*) {});
    g_allocation_limit = 4096 + 32 * input_bytes;
  }
  ~AllocationLimit() { g_allocation_limit = 0; }
};

}  // namespace grpo

#endif  // GRPO_TESTS_FUZZ_ALLOCATION_LIMIT_H_
