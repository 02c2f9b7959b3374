// What this machine can do at most: measured where fractions of it are reported, moments before.
#ifndef GRPO_TOOLS_GRPOCTL_MODEL_BENCH_LIMITS_H_
#define GRPO_TOOLS_GRPOCTL_MODEL_BENCH_LIMITS_H_

#include "tools/grpoctl/bench/report.h"

namespace grpo {

// On torch's threads (UseThreads). Products of square matrices of `gemm_size` rows in float32 and bfloat16, by the better
// of our kernels and ATen's, and memory of which each thread reads and copies its part, `stream_bytes` in all, far more
// than the caches hold; each the best of some tries. Holds 2 x stream_bytes of memory meanwhile. Throws what torch
// throws (TorchGuard).
MachineLimits MeasureLimits(int64_t gemm_size, int64_t stream_bytes);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_MODEL_BENCH_LIMITS_H_
