// The threads that a process computes with: ATen's, Gloo aside.
#ifndef GRPO_MODEL_THREADS_H_
#define GRPO_MODEL_THREADS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace grpo {

// Rows of `width` numbers, at least 1, that are enough work to pay for a thread: the grain of at::parallel_for.
constexpr int64_t RowsPerThread(int64_t width) {
  constexpr int64_t kValues = int64_t{1} << 13;
  return width < kValues ? kValues / width : 1;
}

// Lets tensor operations and our own kernels (at::parallel_for) run on `num_threads` threads of one pool, the caller's
// among them; at least 1. Once, at the process's start, before the first tensor operation. FailedPrecondition when two
// OpenMP run times are loaded: each would keep its own threads, and they would take the cores from each other.
absl::Status UseThreads(int64_t num_threads);

// The files of the OpenMP run times that this process has loaded. Any thread.
std::vector<std::string> LoadedOpenMp();

}  // namespace grpo

#endif  // GRPO_MODEL_THREADS_H_
