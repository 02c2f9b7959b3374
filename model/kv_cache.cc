#include "model/kv_cache.h"

#include <ATen/Parallel.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <utility>

#include "model/attention_kernel.h"
#include "model/cpu_types.h"

namespace grpo {
namespace {

using attention::kMaxRows;
using attention::kTileTokens;
using attention::StoreToken;
using attention::WholeTiles;

// Keys and values of one layer: those of one slot and one head follow each other.
struct LayerCache {
  LayerCache(KvCache& cache, int64_t layer)
      : keys(cache.keys().select(0, layer).data_ptr<float>()),
        values(cache.values().select(0, layer).data_ptr<float>()),
        num_kv_heads(cache.values().size(2)),
        head_dim(cache.values().size(4)),
        head_size(cache.values().size(3) * head_dim) {}
  int64_t Offset(int64_t slot, int64_t kv_head) const { return (slot * num_kv_heads + kv_head) * head_size; }

  float *const keys, *const values;
  const int64_t num_kv_heads, head_dim, head_size;
};

// One token of one slot and one key-value head: stored, then attended from by the `group` query heads that read it.
template <typename T>
void DecodeHead(const LayerCache& cache, int64_t offset, int64_t length, const T* query, const T* key, const T* value,
                int64_t group, T* out) {
  const int64_t head_dim = cache.head_dim;
  StoreToken(key, value, cache.keys + offset, cache.values + offset, length, head_dim);
  // Kept between calls, so that a decode step allocates nothing.
  static thread_local std::vector<float> queries, outs, scratch;
  queries.resize(kMaxRows * head_dim);
  outs.resize(kMaxRows * head_dim);
  for (int64_t first = 0; first < group; first += kMaxRows) {
    attention::Rows rows = {.count = std::min(kMaxRows, group - first), .queries = queries.data()};
    for (int64_t r = 0; r < rows.count; ++r) {
      rows.num_tokens[r] = length + 1;
      attention::SetRow(query + (first + r) * head_dim, r, rows.count, head_dim, queries.data());
    }
    attention::Attend(rows, {cache.keys + offset, cache.values + offset, head_dim}, outs.data(),
                      /*log_sum_exp=*/nullptr, scratch);
    for (int64_t i = 0; i < rows.count * head_dim; ++i) out[first * head_dim + i] = static_cast<T>(outs[i]);
  }
}

}  // namespace

KvCache::KvCache(const ModelConfig& config, const Placement& placement, int64_t num_slots, int64_t max_tokens)
    : num_slots_(num_slots), max_tokens_(max_tokens) {
  const int64_t capacity = WholeTiles(max_tokens);
  keys_ = at::zeros(
      {config.num_layers, num_slots, config.num_kv_heads, capacity / kTileTokens, config.head_dim, kTileTokens},
      placement.device);
  values_ = at::zeros({config.num_layers, num_slots, config.num_kv_heads, capacity, config.head_dim}, placement.device);
}

int64_t KvCache::size_bytes() const {
  return static_cast<int64_t>(keys_.nbytes() + values_.nbytes());
}

void KvCache::CopyPrefix(int64_t from_slot, const std::vector<int64_t>& to_slots, int64_t num_tokens) {
  const int64_t whole = WholeTiles(num_tokens);
  const at::Tensor keys = keys_.narrow(3, 0, whole / kTileTokens), values = values_.narrow(3, 0, whole);
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
  for (const int64_t length : lengths_) {
    TORCH_CHECK(length <= cache->max_tokens(), "prefill of ", length, " tokens into slots of ", cache->max_tokens());
  }
}

at::Tensor PrefillAttention::Attend(int64_t layer, const at::Tensor& q, const at::Tensor& k_in,
                                    const at::Tensor& v_in) {
  const at::Tensor k = k_in.contiguous(), v = v_in.contiguous();
  const LayerCache cache(*cache_, layer);
  WithCpuType(k.scalar_type(), [&](auto type) {
    using T = decltype(type);
    const T *key = k.const_data_ptr<T>(), *value = v.const_data_ptr<T>();
    for (size_t i = 0; i < slots_.size(); ++i) {
      for (int64_t t = 0; t < lengths_[i]; ++t) {
        for (int64_t head = 0; head < cache.num_kv_heads; ++head, key += cache.head_dim, value += cache.head_dim) {
          const int64_t offset = cache.Offset(slots_[i], head);
          StoreToken(key, value, cache.keys + offset, cache.values + offset, t, cache.head_dim);
        }
      }
    }
  });
  return packed_.Attend(layer, q, k, v);
}

at::Tensor DecodeAttention::Attend(int64_t layer, const at::Tensor& q_in, const at::Tensor& k_in,
                                   const at::Tensor& v_in) {
  TORCH_CHECK(q_in.is_cpu(), "cached decoding is on the CPU");
  const at::Tensor q = q_in.contiguous(), k = k_in.contiguous(), v = v_in.contiguous();
  const LayerCache cache(*cache_, layer);
  const int64_t num_slots = cache_->num_slots(), num_kv_heads = cache.num_kv_heads;
  const int64_t group = q.size(1) / num_kv_heads;
  TORCH_CHECK(q.size(0) == num_slots && static_cast<int64_t>(lengths_->size()) == num_slots,
              "a decode step has one row for each of ", num_slots, " slots, got ", q.size(0), " rows and ",
              lengths_->size(), " lengths");
  for (const int64_t length : *lengths_) {
    TORCH_CHECK(length < cache_->max_tokens(), "a slot holds ", length, " tokens, and the cache is for ",
                cache_->max_tokens());
  }
  at::Tensor out = at::zeros_like(q);
  WithCpuType(q.scalar_type(), [&](auto type) {
    using T = decltype(type);
    const T *const queries = q.const_data_ptr<T>(), *const keys = k.const_data_ptr<T>();
    const T* const values = v.const_data_ptr<T>();
    T* const outs = out.data_ptr<T>();
    at::parallel_for(0, num_slots * num_kv_heads, 16, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) {
        const int64_t slot = task / num_kv_heads, length = (*lengths_)[slot], at = task * cache.head_dim;
        if (length < 0) continue;
        DecodeHead(cache, task * cache.head_size, length, queries + at * group, keys + at, values + at, group,
                   outs + at * group);
      }
    });
  });
  return out;
}

}  // namespace grpo
