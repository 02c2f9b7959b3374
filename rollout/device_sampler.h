// rollout/sampler.h's draws on a device, by ATen's own operations: the same inverse CDF from the same uniform numbers,
// without a number coming back to the host. Weights are float32 and their sums float64, as there; sums are taken in
// another order, so that a draw whose uniform number lies within some 1e-7 of a token's edge may give its neighbour.
//
//   sums of blocks --product with a triangle--> running sums --> the block --> its own running sums --> the token
//
// No float cumsum: CUDA has none that gives the same bits each time.
#ifndef GRPO_ROLLOUT_DEVICE_SAMPLER_H_
#define GRPO_ROLLOUT_DEVICE_SAMPLER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "absl/types/span.h"
#include "rollout/sampler.h"

namespace grpo {

// One thread.
class DeviceSampler {
 public:
  // Numbers of one row's draw, below.
  static constexpr int64_t kNumbers = 7;

  // For logits of V tokens on `device`.
  DeviceSampler(int64_t vocab_size, c10::Device device);

  // Writes what a row is drawn by into column `column` of `numbers`, which is [kNumbers, columns] on the host. Draw.row
  // plays no part. Pure.
  static void Write(const Draw& draw, int64_t vocab_size, int64_t column, int64_t columns, absl::Span<double> numbers);
  // How many of the most likely tokens the draw must look at in their order: 0 without a cut, V for a cut without
  // top_k. Pure.
  static int64_t NumRanked(const Draw& draw, int64_t vocab_size);

  // logits [R, V] float32 and numbers [kNumbers, R] float64, as Write gives them, on the device; row r draws by column
  // r. num_ranked: the largest of the rows' NumRanked; above 0 it costs a sort. Returns [2, R] float64: ids, and
  // log-probabilities as float32 has them, NaN for a row with a logit that is not finite (its id is below V all the
  // same). Waits for nothing, and launches the same for the same R and num_ranked. Misfits end in an exception of torch.
  at::Tensor Sample(const at::Tensor& logits, const at::Tensor& numbers, int64_t num_ranked) const;

 private:
  // What a row draws: its id [R, 1] int64, and the weight of all that might have been drawn [R, 1] float64.
  struct Drawn {
    at::Tensor ids, totals;
  };

  // From weights [R, whole blocks] float32, zero beyond V, by the order of the ids.
  Drawn FromAll(const at::Tensor& weights, const at::Tensor& uniforms) const;
  // From what the cuts leave, by falling weight.
  Drawn FromCut(const at::Tensor& weights, const at::Tensor& numbers, int64_t num_ranked) const;
  // Running sums along the rows of [R, n] float64, n of at most V.
  at::Tensor RunningSums(const at::Tensor& values) const;
  // The first column [R, 1] whose running sum exceeds the target [R, 1], of those that weigh anything; the last of
  // those where rounding leaves none. All [R, n] float64.
  at::Tensor FirstAbove(const at::Tensor& running, const at::Tensor& weights, const at::Tensor& targets) const;

  const int64_t vocab_size_, num_blocks_;
  at::Tensor positions_;  // [V or more] int64: 0, 1, 2, ...
  // Ones on and above the diagonal, float64: [block, block] and [blocks of the vocabulary, the same].
  at::Tensor block_triangle_, triangle_;
};

}  // namespace grpo

#endif  // GRPO_ROLLOUT_DEVICE_SAMPLER_H_
