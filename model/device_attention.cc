#include "model/device_attention.h"

#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "model/device.h"

namespace grpo {
namespace {

// The rows of one sequence in order: of what it goes on from, then its own.
struct SequenceRows {
  int64_t num_shared;
  std::vector<int64_t> rows;
  int64_t num_own() const { return static_cast<int64_t>(rows.size()) - num_shared; }
};

// Those that have rows of their own.
std::vector<SequenceRows> RowsOf(const PackedLayout& layout) {
  std::vector<SequenceRows> sequences;
  std::vector<int64_t> begins;
  int64_t begin = 0;
  for (size_t i = 0; i < layout.lengths.size(); ++i) {
    const int64_t length = layout.lengths[i], prefix = layout.prefixes.empty() ? -1 : layout.prefixes[i];
    SequenceRows sequence = {.num_shared = prefix < 0 ? 0 : layout.lengths[prefix], .rows = {}};
    sequence.rows.resize(sequence.num_shared + length);
    const auto own = sequence.rows.begin() + sequence.num_shared;
    if (prefix >= 0) std::iota(sequence.rows.begin(), own, begins[prefix]);
    std::iota(own, sequence.rows.end(), begin);
    begins.push_back(begin);
    begin += length;
    if (length > 0) sequences.push_back(std::move(sequence));
  }
  return sequences;
}

// heads [N, heads, K] at these rows, which may come more than once; their gradients are summed in float32.
at::Tensor RowsAt(const at::Tensor& heads, const at::Tensor& rows) {
  return heads.to(at::kFloat).index_select(0, rows).to(heads.scalar_type());
}

// int64, on the device; one copy for all of them.
std::vector<at::Tensor> Send(const std::vector<std::vector<int64_t>>& tables, c10::Device device) {
  std::vector<int64_t> numbers, sizes;
  for (const std::vector<int64_t>& table : tables) {
    sizes.push_back(static_cast<int64_t>(table.size()));
    numbers.insert(numbers.end(), table.begin(), table.end());
  }
  return ToDevice(numbers, device).split_with_sizes(sizes);
}

// Where queries and keys of each sequence begin, and the rows of all keys, empty when they are all rows in order.
std::vector<std::vector<int64_t>> FlashTables(const std::vector<SequenceRows>& sequences) {
  std::vector<int64_t> begin_q = {0}, begin_k = {0}, rows;
  for (const SequenceRows& sequence : sequences) {
    rows.insert(rows.end(), sequence.rows.begin(), sequence.rows.end());
    begin_q.push_back(begin_q.back() + sequence.num_own());
    begin_k.push_back(static_cast<int64_t>(rows.size()));
  }
  if (begin_q == begin_k) rows.clear();
  return {begin_q, begin_k, rows};
}

// Where the rows are among the padded ones, and the rows of those.
std::vector<std::vector<int64_t>> PaddedTables(const std::vector<SequenceRows>& sequences, int64_t max_tokens) {
  std::vector<int64_t> kept, rows;
  for (const SequenceRows& sequence : sequences) {
    const auto begin = static_cast<int64_t>(rows.size());
    rows.insert(rows.end(), sequence.rows.begin(), sequence.rows.end());
    for (int64_t i = 0; i < sequence.num_own(); ++i) kept.push_back(begin + sequence.num_shared + i);
    // Any row will do: nobody who counts sees it.
    rows.resize(begin + max_tokens, 0);
  }
  return {kept, rows};
}

}  // namespace

bool FlashTakes(const at::Tensor& heads) {
  return heads.scalar_type() == at::kBFloat16 && heads.size(2) % 8 == 0 && heads.size(2) <= 256;
}

DeviceAttention::DeviceAttention(const PackedLayout& layout, c10::Device device, bool flash)
    : device_(device), flash_(flash) {
  const std::vector<SequenceRows> sequences = RowsOf(layout);
  num_sequences_ = static_cast<int64_t>(sequences.size());
  if (sequences.empty()) return;
  for (const SequenceRows& sequence : sequences) {
    max_own_ = std::max(max_own_, sequence.num_own());
    max_tokens_ = std::max(max_tokens_, static_cast<int64_t>(sequence.rows.size()));
  }
  const std::vector<at::Tensor> tables =
      Send(flash ? FlashTables(sequences) : PaddedTables(sequences, max_tokens_), device);
  if (flash) {
    begin_q_ = tables[0].to(at::kInt);
    begin_k_ = tables[1].to(at::kInt);
  } else {
    kept_ = tables[0];
  }
  rows_ = tables.back();
}

at::Tensor DeviceAttention::Attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) const {
  if (num_sequences_ == 0) return at::empty_like(q);
  return flash_ ? AttendPacked(q, k, v) : AttendPadded(q, k, v);
}

at::Tensor DeviceAttention::AttendPacked(const at::Tensor& q, const at::Tensor& k_in, const at::Tensor& v_in) const {
  const bool shares = rows_.numel() > 0;
  const at::Tensor k = shares ? RowsAt(k_in, rows_) : k_in, v = shares ? RowsAt(v_in, rows_) : v_in;
  return std::get<0>(at::_flash_attention_forward(q, k, v, begin_q_, begin_k_, max_own_, max_tokens_,
                                                  /*dropout_p=*/0.0, /*is_causal=*/true,
                                                  /*return_debug_mask=*/false));
}

at::Tensor DeviceAttention::AttendPadded(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) const {
  const int64_t num_heads = q.size(1), num_kv_heads = k.size(1), head_dim = q.size(2);
  // [N, heads, K] to [B, H, max_tokens, K]; key-value heads are written out, since not every kernel shares them.
  const auto padded = [&](const at::Tensor& packed) {
    const at::Tensor rows = RowsAt(packed, rows_).view({num_sequences_, max_tokens_, packed.size(1), head_dim});
    const at::Tensor heads = rows.transpose(1, 2);
    if (packed.size(1) == num_heads) return heads;
    return heads.unsqueeze(2)
        .expand({num_sequences_, num_kv_heads, num_heads / num_kv_heads, max_tokens_, head_dim})
        .reshape({num_sequences_, num_heads, max_tokens_, head_dim});
  };
  const at::Tensor attended =
      at::scaled_dot_product_attention(padded(q), padded(k), padded(v), /*attn_mask=*/{}, /*dropout_p=*/0.0,
                                       /*is_causal=*/true);  // [B, H, max_tokens, K]
  return attended.transpose(1, 2).reshape({num_sequences_ * max_tokens_, num_heads, head_dim}).index_select(0, kept_);
}

}  // namespace grpo
