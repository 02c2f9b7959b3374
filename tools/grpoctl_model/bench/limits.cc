#include "tools/grpoctl_model/bench/limits.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "model/linear.h"

namespace grpo {
namespace {

constexpr int kTries = 7;

// The fastest of some calls, the first of which only warms up.
double BestSeconds(absl::FunctionRef<void()> body) {
  const Clock& clock = Clock::Real();
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i <= kTries; ++i) {
    const absl::Duration begin = clock.Now();
    body();
    if (i > 0) best = std::min(best, absl::ToDoubleSeconds(clock.Now() - begin));
  }
  return best;
}

using Product = absl::FunctionRef<void(const at::Tensor& a, const at::Tensor& b, at::Tensor& out)>;

double Gflops(int64_t size, at::ScalarType dtype, Product product) {
  const at::Tensor a = at::randn({size, size}).to(dtype), b = at::randn({size, size}).to(dtype);
  at::Tensor out = at::empty({size, size}, dtype);
  const double n = static_cast<double>(size);
  return 2 * n * n * n / BestSeconds([&] { product(a, b, out); }) / 1e9;
}

// The better of our products and ATen's.
double GemmGflops(int64_t size, at::ScalarType dtype) {
  const auto ours = [](const at::Tensor& a, const at::Tensor& b, at::Tensor& out) { MatMulInto(a, b, out); };
  const auto atens = [](const at::Tensor& a, const at::Tensor& b, at::Tensor& out) { at::mm_out(out, a, b); };
  const double best = Gflops(size, dtype, ours);
  // Without the processor's instructions ATen's bfloat16 is a loop, hundreds of times slower: a small product says so in a
  // moment, the large one would take minutes.
  const int64_t small = std::min<int64_t>(size, 256);
  if (Gflops(small, dtype, atens) < Gflops(small, dtype, ours) / 4) return best;
  return std::max(best, Gflops(size, dtype, atens));
}

// The sum's only use is that the reads cannot be left out.
uint64_t SumOf(const uint64_t* words, int64_t count) {
  uint64_t sums[8] = {};
  for (int64_t i = 0; i + 8 <= count; i += 8) {
    for (int64_t j = 0; j < 8; ++j) sums[j] += words[i + j];
  }
  uint64_t sum = 0;
  for (const uint64_t part : sums) sum += part;
  return sum;
}

}  // namespace

MachineLimits MeasureLimits(int64_t gemm_size, int64_t stream_bytes) {
  const at::NoGradGuard no_grad;
  MachineLimits limits;
  limits.gemm_float32_gflops = GemmGflops(gemm_size, at::kFloat);
  limits.gemm_bfloat16_gflops = GemmGflops(gemm_size, at::kBFloat16);
  const int64_t words = std::max<int64_t>(stream_bytes / 8, 8), threads = at::get_num_threads();
  std::vector<uint64_t> from(words, 1), to(words, 2);
  std::atomic<uint64_t> sink = 0;
  // A thread's part at a time.
  const auto in_parts = [&](absl::FunctionRef<void(int64_t begin, int64_t end)> body) {
    return BestSeconds([&] { at::parallel_for(0, words, (words + threads - 1) / threads, body); });
  };
  const double bytes = static_cast<double>(words) * 8;
  limits.read_gb_per_s =
      bytes / in_parts([&](int64_t begin, int64_t end) { sink += SumOf(from.data() + begin, end - begin); }) / 1e9;
  limits.copy_gb_per_s = 2 * bytes / in_parts([&](int64_t begin, int64_t end) {
                           std::memcpy(to.data() + begin, from.data() + begin, (end - begin) * 8);
                         }) /
                         1e9;
  return limits;
}

}  // namespace grpo
