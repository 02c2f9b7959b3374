// Cached decoding on a device: what model/kv_cache.h is on the CPU, by ATen's own operations.
#ifndef GRPO_MODEL_DEVICE_KV_CACHE_H_
#define GRPO_MODEL_DEVICE_KV_CACHE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "model/attention.h"
#include "model/config.h"
#include "model/placement.h"

namespace grpo {

// Keys and values for S slots of up to max_tokens each, on the device and in the dtype that the layers compute in
// (Placement). One thread. Slots and tokens beyond the cache are a bug of the caller. A slot has no length of its own.
class DeviceKvCache {
 public:
  // All slots are zero: what a slot holds beyond its length is read and weighed with zero, so it must be finite.
  DeviceKvCache(const ModelConfig& config, const Placement& placement, int64_t num_slots, int64_t max_tokens);

  // Copies the first num_tokens of one slot to others: a prompt is computed once for its whole group. A slot that is its
  // own source is passed by. Waits for nothing.
  void CopyPrefix(int64_t from_slot, const std::vector<int64_t>& to_slots, int64_t num_tokens);

  int64_t num_slots() const { return num_slots_; }
  // Rows of each slot: max_tokens, rounded up.
  int64_t capacity() const { return capacity_; }
  c10::Device device() const { return keys_.device(); }
  // Of keys and values, capacity included.
  int64_t size_bytes() const;

  // Of one layer, [S capacity, Hkv, K]: slot s has rows s capacity .. (s + 1) capacity - 1.
  at::Tensor keys(int64_t layer) const { return keys_.select(0, layer); }
  at::Tensor values(int64_t layer) const { return values_.select(0, layer); }
  // [S + 1] int32, what the flash kernel is told: the first row of each slot's query when each has one, and of its keys.
  const at::Tensor& query_starts() const { return query_starts_; }
  const at::Tensor& key_starts() const { return key_starts_; }

 private:
  const int64_t num_slots_, capacity_;
  at::Tensor keys_, values_;  // [L, S capacity, Hkv, K]
  at::Tensor query_starts_, key_starts_;
};

// Prefill: one sequence from position 0, whose keys and values are stored in its slot.
class DevicePrefillAttention : public Attention {
 public:
  // `cache` outlives it. A length of 1 to the cache's capacity.
  DevicePrefillAttention(DeviceKvCache* cache, int64_t slot, int64_t length);
  // PackedAttention's; also stores k and v of this layer. Called once a layer.
  at::Tensor Attend(int64_t layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) override;

 private:
  DeviceKvCache* const cache_;
  const int64_t slot_, length_;
  PackedAttention packed_;
};

// One decode step: row s is the next token of slot s, for every slot of the cache (N = S). Its key and value are stored
// at position positions[s], and it attends to 0 .. positions[s]. There are no idle rows: a slot that nobody decodes is
// given position 0, and what comes of it is forgotten. In bfloat16 by the flash kernel over the slot's own length,
// elsewhere by scaled_dot_product_attention over the whole capacity under a mask, so that a row's bits depend on its own
// keys, values and length, and on S and the capacity (docs/design.md law 5). Waits for nothing. Not differentiable.
class DeviceDecodeAttention : public Attention {
 public:
  // positions [S] int64 on the cache's device, each below its capacity. `cache` outlives it.
  DeviceDecodeAttention(DeviceKvCache* cache, const at::Tensor& positions);
  // q [S, H, K], k and v [S, Hkv, K], in the cache's dtype; returned in q's.
  at::Tensor Attend(int64_t layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) override;

 private:
  at::Tensor Flash(const at::Tensor& q, const at::Tensor& keys, const at::Tensor& values) const;
  at::Tensor Masked(const at::Tensor& q, const at::Tensor& keys, const at::Tensor& values) const;

  DeviceKvCache* const cache_;
  at::Tensor rows_;     // [S] int64: where the new token goes
  at::Tensor lengths_;  // [S] int32, with the new token
  // [S, 1, 1, capacity] bool: true for what is attended to. Made when it is first used, which the flash kernel does not.
  at::Tensor mask_;
};

// Whether ATen's flash attention is for queries [N, H, K] of this device, dtype and K.
bool FlashAttends(const at::Tensor& q);

}  // namespace grpo

#endif  // GRPO_MODEL_DEVICE_KV_CACHE_H_
