// Independent pieces of work on a few threads of their own, for work that is hashing and copying: torch's threads are
// for torch.
#ifndef GRPO_COMMON_PARALLEL_H_
#define GRPO_COMMON_PARALLEL_H_

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

namespace grpo {

// Calls work(0) .. work(count - 1), in this order and up to num_threads at a time, on the caller's thread and others
// that end before it returns; where the system gives no more threads, on those that there are. After an error nothing
// further begins; of several errors the first in order is returned. What `work` throws is Internal with its text.
// It is called by several threads at once. num_threads at least 1.
absl::Status RunParallel(int64_t num_threads, int64_t count, absl::FunctionRef<absl::Status(int64_t index)> work);

}  // namespace grpo

#endif  // GRPO_COMMON_PARALLEL_H_
