#include <ATen/ops/index_select.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "model/transformer.h"

namespace grpo {

PackedAttention::PackedAttention(std::vector<int64_t> lengths) : num_sequences_(static_cast<int64_t>(lengths.size())) {
  if (lengths.empty()) return;
  const auto [shortest, longest] = std::minmax_element(lengths.begin(), lengths.end());
  max_length_ = *longest;
  if (*shortest == *longest) return;
  std::vector<int64_t> padded_rows, packed_rows(num_sequences_ * max_length_, 0);
  for (int64_t sequence = 0; sequence < num_sequences_; ++sequence) {
    for (int64_t t = 0; t < lengths[sequence]; ++t) {
      const int64_t row = sequence * max_length_ + t;
      packed_rows[row] = static_cast<int64_t>(padded_rows.size());
      padded_rows.push_back(row);
    }
  }
  padded_rows_ = at::tensor(padded_rows);
  packed_rows_ = at::tensor(packed_rows);
}

at::Tensor PackedAttention::Attend(int64_t, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  // [N, heads, K] to [B, heads, max_length, K]. Padding lies on the right, where a causal mask hides it from every real
  // token; what it holds (token 0) is never read, and its own output is dropped.
  const auto to_rows = [&](const at::Tensor& packed) {
    const at::Tensor padded = padded_rows_.defined() ? packed.index_select(0, packed_rows_) : packed;
    return padded.unflatten(0, {num_sequences_, max_length_}).transpose(1, 2);
  };
  const at::Tensor attended = at::scaled_dot_product_attention(
      to_rows(q), to_rows(k), to_rows(v), /*attn_mask=*/{}, /*dropout_p=*/0.0, /*is_causal=*/true, /*scale=*/{},
      /*enable_gqa=*/q.size(1) != k.size(1));                      // [B, H, max_length, K]
  const at::Tensor rows = attended.transpose(1, 2).flatten(0, 1);  // [B * max_length, H, K]
  return padded_rows_.defined() ? rows.index_select(0, padded_rows_) : rows;
}

}  // namespace grpo
