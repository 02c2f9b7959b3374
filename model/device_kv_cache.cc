#include "model/device_kv_cache.h"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <optional>
#include <tuple>

namespace grpo {
namespace {

// Masks of whole multiples of this many tokens need no copy before a kernel reads them.
constexpr int64_t kCapacityStep = 16;

// What is written to different rows is the same in any order, and CUDA's deterministic way of it sorts them first. The
// process's flag: nobody else launches work meanwhile.
class OrderDoesNotMatter {
 public:
  OrderDoesNotMatter()
      : deterministic_(at::globalContext().deterministicAlgorithms()),
        warn_only_(at::globalContext().deterministicAlgorithmsWarnOnly()) {
    if (deterministic_) at::globalContext().setDeterministicAlgorithms(false, false);
  }
  ~OrderDoesNotMatter() {
    if (deterministic_) at::globalContext().setDeterministicAlgorithms(true, warn_only_);
  }
  OrderDoesNotMatter(const OrderDoesNotMatter&) = delete;
  OrderDoesNotMatter& operator=(const OrderDoesNotMatter&) = delete;

 private:
  const bool deterministic_, warn_only_;
};

}  // namespace

bool FlashAttends(const at::Tensor& q) {
  return !q.is_cpu() && q.scalar_type() == at::kBFloat16 && q.size(2) % 8 == 0 && q.size(2) <= 256;
}

DeviceKvCache::DeviceKvCache(const ModelConfig& config, const Placement& placement, int64_t num_slots,
                             int64_t max_tokens)
    : num_slots_(num_slots), capacity_((max_tokens + kCapacityStep - 1) / kCapacityStep * kCapacityStep) {
  keys_ = at::zeros({config.num_layers, num_slots * capacity_, config.num_kv_heads, config.head_dim},
                    at::TensorOptions(placement.compute).device(placement.device));
  values_ = at::zeros_like(keys_);
  query_starts_ = at::arange(num_slots + 1, keys_.options().dtype(at::kInt));
  key_starts_ = query_starts_ * capacity_;
}

int64_t DeviceKvCache::size_bytes() const {
  return static_cast<int64_t>(keys_.nbytes() + values_.nbytes());
}

void DeviceKvCache::CopyPrefix(int64_t from_slot, const std::vector<int64_t>& to_slots, int64_t num_tokens) {
  for (const at::Tensor& all : {keys_, values_}) {
    const at::Tensor from = all.narrow(1, from_slot * capacity_, num_tokens);
    for (const int64_t slot : to_slots) {
      if (slot != from_slot) all.narrow(1, slot * capacity_, num_tokens).copy_(from);
    }
  }
}

DevicePrefillAttention::DevicePrefillAttention(DeviceKvCache* cache, int64_t slot, int64_t length)
    : cache_(cache), slot_(slot), length_(length), packed_(std::vector<int64_t>{length}) {
  TORCH_CHECK(length >= 1 && length <= cache->capacity(), "prefill of ", length, " tokens into slots of ",
              cache->capacity());
}

at::Tensor DevicePrefillAttention::Attend(int64_t layer, const at::Tensor& q, const at::Tensor& k,
                                          const at::Tensor& v) {
  const int64_t first = slot_ * cache_->capacity();
  cache_->keys(layer).narrow(0, first, length_).copy_(k);
  cache_->values(layer).narrow(0, first, length_).copy_(v);
  return packed_.Attend(layer, q, k, v);
}

DeviceDecodeAttention::DeviceDecodeAttention(DeviceKvCache* cache, const at::Tensor& positions) : cache_(cache) {
  const int64_t num_slots = cache->num_slots();
  TORCH_CHECK(positions.dim() == 1 && positions.size(0) == num_slots && positions.device() == cache->device(),
              "a decode step has a position for each of ", num_slots, " slots, on the cache's device");
  rows_ = positions + cache->key_starts().narrow(0, 0, num_slots);
  lengths_ = (positions + 1).to(at::kInt);
}

at::Tensor DeviceDecodeAttention::Attend(int64_t layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  TORCH_CHECK(q.size(0) == cache_->num_slots(), "a decode step has one row for each of ", cache_->num_slots(),
              " slots, got ", q.size(0));
  at::Tensor keys = cache_->keys(layer), values = cache_->values(layer);
  {
    const OrderDoesNotMatter each_slot_has_a_row_of_its_own;
    keys.index_copy_(0, rows_, k);
    values.index_copy_(0, rows_, v);
  }
  if (FlashAttends(q)) return Flash(q, keys, values);
  if (!mask_.defined()) {
    const at::Tensor tokens = at::arange(cache_->capacity(), lengths_.options());
    mask_ = (tokens.unsqueeze(0) < lengths_.unsqueeze(1)).unsqueeze(1).unsqueeze(1);
  }
  return Masked(q, keys, values);
}

at::Tensor DeviceDecodeAttention::Flash(const at::Tensor& q, const at::Tensor& keys, const at::Tensor& values) const {
  // Where a slot's keys begin, key_starts says; how many there are, seqused_k.
  return std::get<0>(at::_flash_attention_forward(q, keys, values, cache_->query_starts(), cache_->key_starts(),
                                                  /*max_q=*/1,
                                                  /*max_k=*/cache_->capacity(), /*dropout_p=*/0.0, /*is_causal=*/false,
                                                  /*return_debug_mask=*/false, /*scale=*/std::nullopt,
                                                  /*window_size_left=*/std::nullopt,
                                                  /*window_size_right=*/std::nullopt, /*seqused_k=*/lengths_));
}

at::Tensor DeviceDecodeAttention::Masked(const at::Tensor& q, const at::Tensor& keys, const at::Tensor& values) const {
  const int64_t num_slots = q.size(0), num_kv_heads = keys.size(1), head_dim = q.size(2);
  // The query heads that read one key-value head stand where a sequence's queries would: nothing is repeated.
  const at::Tensor queries = q.reshape({num_slots, num_kv_heads, q.size(1) / num_kv_heads, head_dim}).to(at::kFloat);
  const auto heads = [&](const at::Tensor& rows) {  // [S, Hkv, capacity, K]
    return rows.view({num_slots, cache_->capacity(), num_kv_heads, head_dim}).transpose(1, 2).to(at::kFloat);
  };
  return at::scaled_dot_product_attention(queries, heads(keys), heads(values), mask_)
      .reshape({num_slots, q.size(1), head_dim})
      .to(q.scalar_type());
}

}  // namespace grpo
