// Cached decoding: keys and values of the tokens seen so far, one slot of the cache per completion. float32.
#ifndef GRPO_MODEL_KV_CACHE_H_
#define GRPO_MODEL_KV_CACHE_H_

#include <ATen/core/Tensor.h>

#include <vector>

#include "model/attention.h"
#include "model/config.h"
#include "model/placement.h"

namespace grpo {

// Keys and values, float32, for S slots of up to max_tokens each. One thread. Numbers of slots and tokens beyond the
// cache are a bug of the caller and end in an exception of torch (TorchGuard). A slot has no length of its own: whoever
// decodes keeps the lengths.
class KvCache {
 public:
  // On the device of the model that fills it. Only the device of `placement` counts. All slots are zero.
  KvCache(const ModelConfig& config, const Placement& placement, int64_t num_slots, int64_t max_tokens);

  // Copies the first num_tokens of one slot to others: a prompt is computed once for its whole group. What the others
  // then hold beyond num_tokens means nothing. A slot that is its own source is passed by.
  void CopyPrefix(int64_t from_slot, const std::vector<int64_t>& to_slots, int64_t num_tokens);

  int64_t num_slots() const { return num_slots_; }
  int64_t max_tokens() const { return max_tokens_; }
  // Of keys and values, capacity included.
  int64_t size_bytes() const;

  // As model/attention_kernel.h reads them.
  at::Tensor& keys() { return keys_; }      // [L, S, Hkv, capacity / 16, K, 16]
  at::Tensor& values() { return values_; }  // [L, S, Hkv, capacity, K]

 private:
  const int64_t num_slots_, max_tokens_;
  // capacity is max_tokens rounded up to whole tiles; what lies beyond a slot's length is never part of a result.
  at::Tensor keys_, values_;
};

// Prefill: sequences laid back to back, each attending within itself; keys and values are stored in its slot from
// position 0.
class PrefillAttention : public Attention {
 public:
  // One length and one slot for each sequence. Lengths of 1 to max_tokens that sum to N; the slots are all different.
  // `cache` outlives it.
  PrefillAttention(KvCache* cache, std::vector<int64_t> lengths, std::vector<int64_t> slots);
  // PackedAttention's; also stores k and v of this layer. Called once a layer.
  at::Tensor Attend(int64_t layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) override;

 private:
  KvCache* const cache_;
  const std::vector<int64_t> lengths_, slots_;
  PackedAttention packed_;
};

// One decode step: row s is the next token of slot s, for every slot of the cache (N = S). lengths[s] is the number of
// tokens already in slot s; the new one is stored at that position and attends to 0 .. lengths[s]. A slot with
// lengths[s] < 0 is idle: its output is zero. A row's result depends on the row's own keys and values and its own
// length only, bit for bit (docs/design.md law 5). Not differentiable.
class DecodeAttention : public Attention {
 public:
  // Both outlive it. `lengths` is read at each call, so one object serves all steps; nobody writes to it during a
  // forward pass. It has S entries, each below max_tokens when Attend is called; the caller adds 1 to a slot's length
  // after the step.
  DecodeAttention(KvCache* cache, const std::vector<int64_t>* lengths) : cache_(cache), lengths_(lengths) {}
  // q [S, H, K], k and v [S, Hkv, K], float32 or bfloat16; computed in float32, returned in q's dtype, with the bits that
  // PackedAttention gives over the same tokens.
  at::Tensor Attend(int64_t layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) override;

 private:
  KvCache* const cache_;
  const std::vector<int64_t>* const lengths_;
};

}  // namespace grpo

#endif  // GRPO_MODEL_KV_CACHE_H_
