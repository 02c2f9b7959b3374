// What PackedAttention (model/attention.h) computes on devices other than the CPU, by ATen's kernels.
#ifndef GRPO_MODEL_DEVICE_ATTENTION_H_
#define GRPO_MODEL_DEVICE_ATTENTION_H_

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>

#include "model/attention.h"

namespace grpo {

// Whether the device's flash attention takes such heads [N, H, K]: bfloat16, K a multiple of 8 and at most 256. (That
// it also asks for an Ampere GPU or a newer one only the kernel says.)
bool FlashTakes(const at::Tensor& heads);

// One layout's tables on one device, made once and read by every layer. The host waits for nothing. One thread.
class DeviceAttention {
 public:
  // `flash`: what FlashTakes says of the heads that will come.
  DeviceAttention(const PackedLayout& layout, c10::Device device, bool flash);

  // q [N, H, K], k and v [N, Hkv, K] on the device, of one type. Returns [N, H, K] of it. Differentiable once; the
  // gradient of what is shared is summed in float32.
  //   flash: varlen flash attention (arXiv:2307.08691). Each sequence's own rows are its queries; what it goes on from
  //     is written out before its own keys and values. The causal mask is aligned to the last query and the last key.
  //   else: rows of one length, padded on the right where the causal mask hides it from all that count, what is shared
  //     written out, and scaled dot product attention over them: for float32, where devices have no kernel for packed
  //     rows that shares heads, and for odd sizes.
  at::Tensor Attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) const;

  c10::Device device() const { return device_; }
  bool flash() const { return flash_; }

 private:
  at::Tensor AttendPacked(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) const;
  at::Tensor AttendPadded(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) const;

  const c10::Device device_;
  const bool flash_;
  // B sequences that have rows of their own.
  int64_t num_sequences_ = 0;
  // Rows of a sequence: its own at most, and with what it goes on from at most.
  int64_t max_own_ = 0, max_tokens_ = 0;
  // flash: where each sequence's queries and keys begin, [B + 1] int32.
  at::Tensor begin_q_, begin_k_;
  // int64. flash: the rows of all keys, written out; empty where nothing is shared. Else: those of all padded rows,
  // [B max_tokens].
  at::Tensor rows_;
  // Not flash: where the N rows are among the padded ones, [N] int64.
  at::Tensor kept_;
};

}  // namespace grpo

#endif  // GRPO_MODEL_DEVICE_ATTENTION_H_
