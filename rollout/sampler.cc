#include "rollout/sampler.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "common/seeds.h"
#include "common/status_macros.h"
#include "model/simd.h"
#include "model/tensor.h"

namespace grpo {
namespace {

using simd::Floats;
using simd::kLanes;

// Weights are summed in float inside a block and in double over blocks; the scan skips whole blocks.
constexpr int64_t kBlock = 16 * kLanes;
// Below this many logits a second thread costs more than it brings.
constexpr int64_t kLogitsPerThread = 32768;
// simd::Exp is exact down to here; a token further below the largest has weight 0 and is never drawn.
constexpr float kLowestExponent = -87.0f;

// The largest of size >= 1 logits; NaN when one is not finite (x * 0 is 0 for finite x only).
GRPO_SIMD_CLONES float MaxIfFinite(const float* logits, int64_t size) {
  const Floats nothing = simd::Fill(-std::numeric_limits<float>::infinity());
  Floats largest = nothing, poison = {};
  for (int64_t i = 0; i < size; i += kLanes) {
    const Floats x = simd::Load(logits + i, std::min(kLanes, size - i));
    largest = simd::Max(simd::FirstLanes(size - i) ? x : nothing, largest);
    poison += x * 0.0f;
  }
  return simd::LargestLane(largest) + simd::Sum(poison);
}

// Writes exp((logit - max) * scale) to weights and returns their sum.
GRPO_SIMD_CLONES float BlockWeights(const float* logits, int64_t size, float max, float scale, float* weights) {
  Floats sum = {};
  for (int64_t i = 0; i < size; i += kLanes) {
    const int64_t count = std::min(kLanes, size - i);
    const Floats x = (simd::Load(logits + i, count) - max) * scale;
    const Floats weight = simd::FirstLanes(count) && x >= kLowestExponent ? simd::Exp(x) : Floats{};
    sum += weight;
    simd::Store(weights + i, weight, count);
  }
  return simd::Sum(sum);
}

absl::Status NotFinite(absl::Span<const float> logits) {
  const auto bad = std::find_if(logits.begin(), logits.end(), [](float x) { return !std::isfinite(x); });
  return absl::InvalidArgumentError(absl::StrCat("the logit of token ", bad - logits.begin(), " is ", *bad));
}

// The first i at which the running sum of weights exceeds `target`. Where rounding leaves the target beyond the last
// sum, the last token that has weight is taken: never one of weight 0, never the end.
int64_t ScanBlock(const float* weights, int64_t size, double target) {
  double sum = 0;
  int64_t last = 0;
  for (int64_t i = 0; i < size; ++i) {
    if (weights[i] == 0) continue;
    last = i;
    sum += weights[i];
    if (sum > target) break;
  }
  return last;
}

// The tokens of `weights`, whose sum is total > 0, that may be drawn, by falling weight; one at least.
void FindCandidates(absl::Span<const float> weights, double total, const Cut& cut, std::vector<int64_t>& candidates) {
  const auto heavier = [&](int64_t a, int64_t b) {
    return weights[a] > weights[b] || (weights[a] == weights[b] && a < b);
  };
  const bool take_k = cut.top_k > 0 && cut.top_k < static_cast<int64_t>(weights.size());
  const double least = cut.min_p > 0 ? cut.min_p * *std::max_element(weights.begin(), weights.end()) : 0;
  // All tokens that are lighter than this weigh less than what may be left out: only the others need sorting. With
  // top_k that is a share of less, which is not known yet.
  const double bound = take_k ? 0 : std::max(least, (1 - cut.top_p) * total / static_cast<double>(weights.size()));
  candidates.clear();
  for (size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] > 0 && weights[i] >= bound) candidates.push_back(static_cast<int64_t>(i));
  }
  if (take_k && cut.top_k < static_cast<int64_t>(candidates.size())) {
    std::nth_element(candidates.begin(), candidates.begin() + cut.top_k, candidates.end(), heavier);
    candidates.resize(static_cast<size_t>(cut.top_k));
  }
  std::sort(candidates.begin(), candidates.end(), heavier);
  if (take_k) {
    total = 0;
    for (const int64_t id : candidates) total += weights[id];
  }
  double sum = 0;
  size_t size = 0;
  if (cut.top_p >= 1) size = candidates.size();
  while (size < candidates.size() && sum < cut.top_p * total) sum += weights[candidates[size++]];
  while (size > 1 && weights[candidates[size - 1]] < least) --size;
  candidates.resize(size);
}

// Draws from what the cut leaves; `total` becomes its weight.
int64_t DrawFromCut(absl::Span<const float> weights, const Cut& cut, double uniform, double& total) {
  static thread_local std::vector<int64_t> candidates;
  FindCandidates(weights, total, cut, candidates);
  total = 0;
  for (const int64_t id : candidates) total += weights[id];
  const double target = uniform * total;
  double sum = 0;
  for (const int64_t id : candidates) {
    sum += weights[id];
    if (sum > target) return id;
  }
  return candidates.back();
}

}  // namespace

absl::StatusOr<SampledToken> SampleRow(absl::Span<const float> logits, double temperature, double uniform,
                                       const Cut& cut) {
  const float max = MaxIfFinite(logits.data(), logits.size());
  if (std::isnan(max)) return NotFinite(logits);
  const bool greedy = temperature == 0;
  const double scale = greedy ? 1.0 : 1.0 / temperature;
  const int64_t size = logits.size(), num_blocks = (size + kBlock - 1) / kBlock;

  // Kept between calls, so that a decode step allocates nothing.
  static thread_local std::vector<float> weights, block_sums;
  weights.resize(size);
  block_sums.resize(num_blocks);
  double total = 0;
  for (int64_t block = 0; block < num_blocks; ++block) {
    const int64_t begin = block * kBlock;
    block_sums[block] =
        BlockWeights(&logits[begin], std::min(kBlock, size - begin), max, static_cast<float>(scale), &weights[begin]);
    total += block_sums[block];
  }

  int64_t id = 0;
  if (greedy) {
    id = std::find(logits.begin(), logits.end(), max) - logits.begin();
  } else if (cut.cuts()) {
    id = DrawFromCut(weights, cut, uniform, total);
  } else {
    // Below total, and the same additions in the same order as for total: some block's running sum exceeds it.
    const double target = std::min(uniform * total, std::nextafter(total, 0.0));
    double before = 0;
    int64_t block = 0;
    while (before + block_sums[block] <= target) before += block_sums[block++];
    const int64_t begin = block * kBlock;
    id = begin + ScanBlock(&weights[begin], std::min(kBlock, size - begin), target - before);
  }
  const double logprob = (static_cast<double>(logits[id]) - max) * scale - std::log(total);
  return SampledToken{.id = static_cast<uint32_t>(id), .sample_logprob = static_cast<float>(logprob)};
}

absl::StatusOr<std::vector<SampledToken>> Sample(const at::Tensor& logits, absl::Span<const Draw> draws) {
  RETURN_IF_ERROR(ExpectShape(logits, {-1, -1}, "logits"));
  if (logits.scalar_type() != at::kFloat || !logits.is_contiguous() || !logits.device().is_cpu()) {
    return absl::InvalidArgumentError("logits must be contiguous float32 on the CPU");
  }
  const int64_t vocab_size = logits.size(1), num_draws = draws.size();
  const float* data = logits.const_data_ptr<float>();
  std::vector<SampledToken> tokens(num_draws);
  // Each draw writes its own; the first in order is reported, whichever thread came first.
  std::vector<absl::Status> errors(num_draws);
  const int64_t grain = std::max<int64_t>(1, kLogitsPerThread / std::max<int64_t>(1, vocab_size));
  at::parallel_for(0, num_draws, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Draw& draw = draws[i];
      const absl::Span<const float> row(data + draw.row * vocab_size, vocab_size);
      absl::StatusOr<SampledToken> token =
          SampleRow(row, draw.temperature, UniformAt(draw.seed, draw.token_index), draw.cut);
      if (token.ok()) {
        tokens[i] = *token;
      } else {
        errors[i] = Annotate(token.status(), absl::StrCat("row ", draw.row));
      }
    }
  });
  for (const absl::Status& error : errors) RETURN_IF_ERROR(error);
  return tokens;
}

}  // namespace grpo
