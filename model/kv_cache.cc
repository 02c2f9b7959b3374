#include "model/kv_cache.h"

#include <ATen/Parallel.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "model/simd.h"

namespace grpo {
namespace {

using simd::Floats;
using simd::kLanes;

int64_t RoundUp(int64_t tokens) {
  return (tokens + kLanes - 1) / kLanes * kLanes;
}

// The new token's key and value of one slot and one key-value head, into position `position`.
void StoreToken(const float* key, const float* value, float* keys, float* values, int64_t position, int64_t head_dim,
                int64_t capacity) {
  for (int64_t i = 0; i < head_dim; ++i) keys[i * capacity + position] = key[i];
  std::copy_n(value, head_dim, values + position * head_dim);
}

// Attention of one query head over tokens 0 .. num_tokens - 1. scores has room for num_tokens rounded up to kLanes;
// every sum runs in an order that num_tokens and head_dim alone decide.
//   query, out [K]; keys [K, capacity]; values [capacity, K]
GRPO_SIMD_CLONES void AttendHead(const float* query, const float* keys, const float* values, float* out, float* scores,
                                 int64_t num_tokens, int64_t head_dim, int64_t capacity, float scale) {
  const Floats nothing = simd::Fill(-std::numeric_limits<float>::infinity());
  Floats highest = nothing;
  for (int64_t t = 0; t < num_tokens; t += kLanes) {
    Floats even = {}, odd = {};  // head_dim is even; two chains of additions run at the same time
    for (int64_t i = 0; i < head_dim; i += 2) {
      even += query[i] * simd::Load(keys + i * capacity + t, kLanes);
      odd += query[i + 1] * simd::Load(keys + (i + 1) * capacity + t, kLanes);
    }
    const Floats score = simd::FirstLanes(num_tokens - t) ? (even + odd) * scale : nothing;
    highest = simd::Max(score, highest);
    simd::Store(scores + t, score, kLanes);
  }
  const float maximum = simd::LargestLane(highest);

  Floats total = {};
  for (int64_t t = 0; t < num_tokens; t += kLanes) {
    const Floats weight =
        simd::FirstLanes(num_tokens - t) ? simd::Exp(simd::Load(scores + t, kLanes) - maximum) : Floats{};
    total += weight;
    simd::Store(scores + t, weight, kLanes);
  }
  const float inverse_total = 1.0f / simd::Sum(total);

  for (int64_t i = 0; i < head_dim; i += kLanes) {
    const int64_t count = std::min(kLanes, head_dim - i);
    Floats even = {}, odd = {};
    int64_t t = 0;
    for (; t + 1 < num_tokens; t += 2) {
      even += scores[t] * simd::Load(values + t * head_dim + i, count);
      odd += scores[t + 1] * simd::Load(values + (t + 1) * head_dim + i, count);
    }
    if (t < num_tokens) even += scores[t] * simd::Load(values + t * head_dim + i, count);
    simd::Store(out + i, (even + odd) * inverse_total, count);
  }
}

}  // namespace

KvCache::KvCache(const ModelConfig& config, const Placement& placement, int64_t num_slots, int64_t max_tokens)
    : num_slots_(num_slots), max_tokens_(max_tokens) {
  const int64_t capacity = RoundUp(max_tokens);
  keys_ = at::zeros({config.num_layers, num_slots, config.num_kv_heads, config.head_dim, capacity}, placement.device);
  values_ = at::zeros({config.num_layers, num_slots, config.num_kv_heads, capacity, config.head_dim}, placement.device);
}

int64_t KvCache::size_bytes() const {
  return static_cast<int64_t>(keys_.nbytes() + values_.nbytes());
}

void KvCache::CopyPrefix(int64_t from_slot, const std::vector<int64_t>& to_slots, int64_t num_tokens) {
  const at::Tensor keys = keys_.narrow(4, 0, num_tokens), values = values_.narrow(3, 0, num_tokens);
  for (const int64_t slot : to_slots) {
    if (slot == from_slot) continue;
    keys.select(1, slot).copy_(keys.select(1, from_slot));
    values.select(1, slot).copy_(values.select(1, from_slot));
  }
}

PrefillAttention::PrefillAttention(KvCache* cache, std::vector<int64_t> lengths, std::vector<int64_t> slots)
    : cache_(cache), lengths_(std::move(lengths)), slots_(std::move(slots)), packed_(lengths_) {
  TORCH_CHECK(lengths_.size() == slots_.size(), "prefill of ", lengths_.size(), " sequences into ", slots_.size(),
              " slots");
}

at::Tensor PrefillAttention::Attend(int64_t layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const at::Tensor keys = cache_->keys().select(0, layer), values = cache_->values().select(0, layer);
  int64_t begin = 0;
  for (size_t i = 0; i < slots_.size(); ++i) {
    const int64_t length = lengths_[i];
    keys.select(0, slots_[i]).narrow(2, 0, length).copy_(k.narrow(0, begin, length).permute({1, 2, 0}));
    values.select(0, slots_[i]).narrow(1, 0, length).copy_(v.narrow(0, begin, length).transpose(0, 1));
    begin += length;
  }
  return packed_.Attend(layer, q, k, v);
}

at::Tensor DecodeAttention::Attend(int64_t layer, const at::Tensor& q_in, const at::Tensor& k_in,
                                   const at::Tensor& v_in) {
  const at::Tensor q = q_in.to(at::kFloat), k = k_in.to(at::kFloat), v = v_in.to(at::kFloat);
  const int64_t num_slots = cache_->num_slots(), num_heads = q.size(1), num_kv_heads = k.size(1), head_dim = q.size(2);
  const int64_t capacity = cache_->keys().size(4), group = num_heads / num_kv_heads;
  TORCH_CHECK(q.is_cpu(), "cached decoding is on the CPU");
  TORCH_CHECK(q.size(0) == num_slots && static_cast<int64_t>(lengths_->size()) == num_slots,
              "a decode step has one row for each of ", num_slots, " slots, got ", q.size(0), " rows and ",
              lengths_->size(), " lengths");
  for (const int64_t length : *lengths_) {
    TORCH_CHECK(length < cache_->max_tokens(), "a slot holds ", length, " tokens, and the cache is for ",
                cache_->max_tokens());
  }
  TORCH_CHECK(q.stride(2) == 1 && k.stride(2) == 1 && v.stride(2) == 1, "heads of q, k and v must be dense");
  at::Tensor out = at::zeros(q.sizes(), q.options());
  const float *const q_data = q.const_data_ptr<float>(), *const k_data = k.const_data_ptr<float>();
  const float* const v_data = v.const_data_ptr<float>();
  float *const keys = cache_->keys().select(0, layer).data_ptr<float>(), *const out_data = out.data_ptr<float>();
  float* const values = cache_->values().select(0, layer).data_ptr<float>();
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  at::parallel_for(0, num_slots * num_kv_heads, 16, [&](int64_t begin, int64_t end) {
    std::vector<float> scores(capacity);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t slot = task / num_kv_heads, kv_head = task % num_kv_heads, length = (*lengths_)[slot];
      if (length < 0) continue;
      float *const head_keys = keys + task * head_dim * capacity, *const head_values =
                                                                      values + task * head_dim * capacity;
      StoreToken(k_data + slot * k.stride(0) + kv_head * k.stride(1),
                 v_data + slot * v.stride(0) + kv_head * v.stride(1), head_keys, head_values, length, head_dim,
                 capacity);
      for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
        AttendHead(q_data + slot * q.stride(0) + head * q.stride(1), head_keys, head_values,
                   out_data + (slot * num_heads + head) * head_dim, scores.data(), length + 1, head_dim, capacity,
                   scale);
      }
    }
  });
  return out.to(q_in.scalar_type());
}

}  // namespace grpo
