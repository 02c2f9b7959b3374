// From logits to token ids: inverse CDF with one uniform number a row, and the log-probability of what was drawn.
//
//   p_i = exp((logit_i - max) / temperature) / sum_j exp((logit_j - max) / temperature)     over the full vocabulary
//   the drawn id is the first i with  sum_{j <= i} p_j > uniform
//
// top_k above 0 keeps the k most likely tokens (of equals, the lower ids). top_p below 1 cuts the distribution to its
// nucleus (arXiv:1904.09751), the most likely tokens (of equals, the lower ids) whose p sum to at least top_p of what
// top_k left. min_p above 0 keeps those whose p is at least min_p times the largest (arXiv:2407.01082). The order is
// that of transformers. What is left is scaled to sum to 1; then i and j run over it only, by falling p.
//
// Temperature 0 takes the first largest logit, and its log-probability is that of the distribution at temperature 1.
#ifndef GRPO_ROLLOUT_SAMPLER_H_
#define GRPO_ROLLOUT_SAMPLER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace grpo {

// Lowest temperature above 0: below it (logit - max) / temperature leaves float's range.
inline constexpr double kMinTemperature = 1e-6;

// What one draw gave.
struct SampledToken {
  uint32_t id = 0;
  // Natural logarithm; finite.
  float sample_logprob = 0;
};

// Which tokens may be drawn; without effect at temperature 0. The three apply in the order top_k, top_p, min_p.
struct Cut {
  // Above 0, at most 1.
  double top_p = 1;
  // 0: all.
  int64_t top_k = 0;
  // 0 to 1.
  double min_p = 0;

  // Whether it cuts anything off. At temperature 0 it does not matter.
  bool cuts() const { return top_p < 1 || top_k > 0 || min_p > 0; }
};

// One draw from a row of logits; several draws may read the same row.
struct Draw {
  // 0 .. R-1.
  int64_t row = 0;
  // 0, or at least kMinTemperature.
  double temperature = 1;
  Cut cut = {};
  // SampleSeed of the completion, and the token's position in it: the draw uses UniformAt(seed, token_index).
  uint64_t seed = 0;
  uint64_t token_index = 0;
};

// One draw. `logits` [V], V >= 1; `uniform` in [0, 1); temperature as in Draw. InvalidArgument names the first logit
// that is not finite. Never draws a token whose probability is below e^-87 of the largest one's. Pure: a row gives the
// same bits wherever it lies. Thread-safe. Costs O(V), with a cut O(V + k log k) for the k tokens that have to be
// sorted. With a cut the log-probability is that of the scaled rest.
absl::StatusOr<SampledToken> SampleRow(absl::Span<const float> logits, double temperature, double uniform,
                                       const Cut& cut = {});

// All draws, in their order, on torch's threads. logits [R, V] float32, contiguous, on the CPU. InvalidArgument names
// the row. Draw i gives token i. InvalidArgument, too, for logits of another shape, dtype or device. Of several bad
// rows the first in order is named.
absl::StatusOr<std::vector<SampledToken>> Sample(const at::Tensor& logits, absl::Span<const Draw> draws);

}  // namespace grpo

#endif  // GRPO_ROLLOUT_SAMPLER_H_
