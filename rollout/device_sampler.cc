#include "rollout/device_sampler.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/max.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/pad.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/triu.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <tuple>

#include "common/seeds.h"

namespace grpo {
namespace {

// Weights that are summed together. Wide enough that there are few blocks, narrow enough that running sums inside one
// cost little.
constexpr int64_t kBlock = 256;
// A little below exp(-87): what is lighter beside the heaviest token's 1 is never drawn (rollout/sampler.cc).
constexpr double kLeastWeight = 1.6e-38;
// Of the order that ranks tokens: weights above, ids below.
constexpr int64_t kIdRange = int64_t{1} << 32;

// Rows of DeviceSampler::Sample's numbers. Without a cut, top_k is V, top_p 1 and min_p 0.
enum Number { kUniform, kScale, kGreedy, kIsCut, kTopK, kTopP, kMinP };

int64_t BlocksOf(int64_t size) {
  return (size + kBlock - 1) / kBlock;
}

at::Tensor Triangle(int64_t size, c10::Device device) {
  return at::triu(at::ones({size, size}, at::TensorOptions(at::kDouble).device(device)));
}

// Row `number`, as a column [R, 1].
at::Tensor Column(const at::Tensor& numbers, Number number) {
  return numbers.select(0, number).unsqueeze(1);
}

}  // namespace

DeviceSampler::DeviceSampler(int64_t vocab_size, c10::Device device)
    : vocab_size_(vocab_size), num_blocks_(BlocksOf(vocab_size)) {
  positions_ = at::arange(num_blocks_ * kBlock, at::TensorOptions(at::kLong).device(device));
  block_triangle_ = Triangle(kBlock, device);
  triangle_ = Triangle(num_blocks_, device);
}

int64_t DeviceSampler::NumRanked(const Draw& draw, int64_t vocab_size) {
  if (draw.temperature == 0 || !draw.cut.cuts()) return 0;
  return draw.cut.top_k > 0 ? std::min(draw.cut.top_k, vocab_size) : vocab_size;
}

void DeviceSampler::Write(const Draw& draw, int64_t vocab_size, int64_t column, int64_t columns,
                          absl::Span<double> numbers) {
  const int64_t num_ranked = NumRanked(draw, vocab_size);
  const auto set = [&](Number number, double value) { numbers[number * columns + column] = value; };
  const bool greedy = draw.temperature == 0, cut = num_ranked > 0;
  set(kUniform, UniformAt(draw.seed, draw.token_index));
  set(kScale, greedy ? 1 : 1 / draw.temperature);
  set(kGreedy, greedy);
  set(kIsCut, cut);
  set(kTopK, static_cast<double>(cut ? num_ranked : vocab_size));
  set(kTopP, cut ? draw.cut.top_p : 1);
  set(kMinP, cut ? draw.cut.min_p : 0);
}

at::Tensor DeviceSampler::RunningSums(const at::Tensor& values) const {
  const int64_t rows = values.size(0), size = values.size(1), blocks = BlocksOf(size);
  if (blocks == 1) return at::mm(values, block_triangle_.narrow(0, 0, size).narrow(1, 0, size));
  const at::Tensor padded = at::pad(values, {0, blocks * kBlock - size}).view({rows * blocks, kBlock});
  const at::Tensor inside = at::mm(padded, block_triangle_).view({rows, blocks, kBlock});
  const at::Tensor sums = inside.select(2, kBlock - 1);  // [R, blocks]
  const at::Tensor before = at::mm(sums, triangle_.narrow(0, 0, blocks).narrow(1, 0, blocks)) - sums;
  return (inside + before.unsqueeze(2)).view({rows, blocks * kBlock}).narrow(1, 0, size);
}

at::Tensor DeviceSampler::FirstAbove(const at::Tensor& running, const at::Tensor& weights,
                                     const at::Tensor& targets) const {
  const int64_t size = running.size(1);
  const at::Tensor positions = positions_.narrow(0, 0, size).expand({running.size(0), size});
  const at::Tensor weightless = (weights >= kLeastWeight).logical_not();  // NaN is
  const at::Tensor first = positions.masked_fill((running > targets).logical_not().logical_or(weightless), size);
  const at::Tensor last = positions.masked_fill(weightless, 0);
  const at::Tensor found = first.amin(1, /*keepdim=*/true);
  return at::where(found == size, last.amax(1, /*keepdim=*/true), found);
}

DeviceSampler::Drawn DeviceSampler::FromAll(const at::Tensor& weights, const at::Tensor& uniforms) const {
  const int64_t rows = weights.size(0);
  const at::Tensor blocks = weights.view({rows, num_blocks_, kBlock});
  const at::Tensor sums = blocks.sum({2}, /*keepdim=*/false, at::kDouble);  // [R, blocks]
  const at::Tensor running = at::mm(sums, triangle_);
  const at::Tensor totals = running.narrow(1, num_blocks_ - 1, 1), targets = uniforms * totals;
  const at::Tensor block = FirstAbove(running, sums, targets);  // [R, 1]
  const at::Tensor inside =
      blocks.gather(1, block.unsqueeze(2).expand({rows, 1, kBlock})).squeeze(1).to(at::kDouble);  // [R, block]
  const at::Tensor before = running.gather(1, block) - sums.gather(1, block);
  const at::Tensor token = FirstAbove(RunningSums(inside), inside, targets - before);
  return {.ids = (block * kBlock + token).clamp_max(vocab_size_ - 1), .totals = totals};
}

DeviceSampler::Drawn DeviceSampler::FromCut(const at::Tensor& weights_in, const at::Tensor& numbers,
                                            int64_t num_ranked) const {
  const at::Tensor weights = weights_in.narrow(1, 0, vocab_size_), ids = positions_.narrow(0, 0, vocab_size_);
  // A float above 0 is the larger, the larger its bits are; of equal ones the lower id comes first. All are different,
  // so the order is the same each time.
  const at::Tensor keys = weights.view(at::kInt).to(at::kLong) * kIdRange + (vocab_size_ - 1 - ids);
  const at::Tensor ranked = std::get<0>(at::topk(keys, num_ranked, 1, /*largest=*/true, /*sorted=*/true));
  const at::Tensor ranked_ids = (ranked.bitwise_and(kIdRange - 1) * -1).add_(vocab_size_ - 1);  // [R, num_ranked]
  const at::Tensor rank = positions_.narrow(0, 0, num_ranked);
  at::Tensor kept = weights.gather(1, ranked_ids).to(at::kDouble);
  kept = kept.masked_fill(rank >= Column(numbers, kTopK), 0);
  const at::Tensor running = RunningSums(kept), before = running - kept, top_p = Column(numbers, kTopP);
  const at::Tensor whole = running.narrow(1, num_ranked - 1, 1);  // what top_k left
  const at::Tensor outside = (before >= top_p * whole).logical_and(top_p < 1);
  const at::Tensor light = (kept < Column(numbers, kMinP)).logical_and(rank > 0);
  kept = kept.masked_fill(outside.logical_or(light), 0);
  const at::Tensor totals = kept.sum(1, /*keepdim=*/true);
  const at::Tensor drawn = FirstAbove(running, kept, Column(numbers, kUniform) * totals);
  return {.ids = ranked_ids.gather(1, drawn), .totals = totals};
}

at::Tensor DeviceSampler::Sample(const at::Tensor& logits, const at::Tensor& numbers, int64_t num_ranked) const {
  const int64_t rows = logits.size(0);
  TORCH_CHECK(logits.dim() == 2 && logits.size(1) == vocab_size_ && logits.scalar_type() == at::kFloat, "logits of ",
              rows, " rows and ", vocab_size_, " tokens in float32 are drawn from");
  TORCH_CHECK(numbers.dim() == 2 && numbers.size(0) == kNumbers && numbers.size(1) == rows, "each of ", rows,
              " rows is drawn by ", kNumbers, " numbers");
  const auto [largest, most_likely] = at::max(logits, 1, /*keepdim=*/true);  // [R, 1], of equals the first
  const at::Tensor scale = Column(numbers, kScale);
  at::Tensor padded = at::empty({rows, num_blocks_ * kBlock}, logits.options());
  at::Tensor weights = padded.narrow(1, 0, vocab_size_);
  at::sub_out(weights, logits, largest);
  weights.mul_(scale.to(at::kFloat)).exp_();
  if (const int64_t beyond = padded.size(1) - vocab_size_; beyond > 0) padded.narrow(1, vocab_size_, beyond).zero_();

  auto [ids, totals] = FromAll(padded, Column(numbers, kUniform));
  if (num_ranked > 0) {
    const Drawn cut = FromCut(padded, numbers, num_ranked);
    const at::Tensor is_cut = Column(numbers, kIsCut) > 0;
    ids = at::where(is_cut, cut.ids, ids);
    totals = at::where(is_cut, cut.totals, totals);
  }
  ids = at::where(Column(numbers, kGreedy) > 0, most_likely, ids);
  // Zero, or NaN when a logit is not finite.
  const at::Tensor poison = (largest - largest) + (logits.amin(1, /*keepdim=*/true) * 0);
  const at::Tensor logprobs =
      (logits.gather(1, ids).to(at::kDouble) - largest) * scale - totals.log() + poison;  // [R, 1]
  return at::stack({ids.squeeze(1).to(at::kDouble), logprobs.squeeze(1).to(at::kFloat).to(at::kDouble)});
}

}  // namespace grpo
