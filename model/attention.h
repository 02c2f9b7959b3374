// What a token of a forward pass attends to: the one part of the decoder that differs between whole sequences and
// cached decoding (model/kv_cache.h). On the CPU all of it computes by model/attention_kernel.h.
#ifndef GRPO_MODEL_ATTENTION_H_
#define GRPO_MODEL_ATTENTION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace grpo {

class DeviceAttention;

// How the tokens of one forward pass see each other. One thread.
class Attention {
 public:
  virtual ~Attention() = default;
  // q [N, H, K], k and v [N, Hkv, K], already rotated, rows possibly strided; layer counts from 0. Returns [N, H, K].
  virtual at::Tensor Attend(int64_t layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) = 0;
};

// Sequences laid back to back in N rows. A sequence may go on from an earlier one, whose tokens then come before its
// own and are there once for all who share them (a group's prompt).
struct PackedLayout {
  // Rows of each sequence, in order; at least 1 each unless the sequence goes on from another. They sum to N.
  std::vector<int64_t> lengths;
  // For each sequence the one that it goes on from, an earlier one which itself goes on from none; -1 for none. Empty:
  // none does.
  std::vector<int64_t> prefixes;
};

// Whole sequences: each token attends to the sequence that its own goes on from, and to the tokens of its own up to
// itself. Differentiable once. float32 or bfloat16, computed in float32. On the CPU what a token gives has the same
// bits whether what comes before is shared or written out, whatever its neighbours and the number of threads, and as in
// a decode step over the same tokens (law 5); the gradient of what is shared is summed in the layout's order. On other
// devices it is model/device_attention.h's, with no such promise, and the host waits for nothing.
class PackedAttention : public Attention {
 public:
  // A layout that breaks its rules is a bug of the caller and ends in an exception of torch.
  explicit PackedAttention(PackedLayout layout);
  explicit PackedAttention(std::vector<int64_t> lengths) : PackedAttention(PackedLayout{std::move(lengths), {}}) {}
  at::Tensor Attend(int64_t layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) override;

  // The layout as the kernels walk it.
  struct Plan;

 private:
  std::shared_ptr<const Plan> plan_;
  // Of the device that was last asked for; null on the CPU.
  std::shared_ptr<const DeviceAttention> on_device_;
};

// What PackedAttention computes, by ATen's own operations, one sequence after the other, in q's dtype: what the kernels
// are tested against, and the way of other types and of odd heads.
at::Tensor PlainPackedAttention(const PackedLayout& layout, const at::Tensor& q, const at::Tensor& k,
                                const at::Tensor& v);

}  // namespace grpo

#endif  // GRPO_MODEL_ATTENTION_H_
