// The element-wise parts of a decoder layer, each as one differentiable operation instead of half a dozen: a small
// model's time is operations, not arithmetic. float32 or bfloat16, computed in float32; on the CPU each row is computed
// by itself in a fixed order, whatever the thread count. On other devices by ATen's operations, where SwiGlu rounds
// once more between its two. All arguments on one device. Misfitting shapes or dtypes are a bug and end in an exception
// of torch. First derivatives only.
#ifndef GRPO_MODEL_FUSED_OPS_H_
#define GRPO_MODEL_FUSED_OPS_H_

#include <ATen/core/Tensor.h>

#include <tuple>

namespace grpo {

// x / sqrt(mean(x^2) + eps) * weight over the last dimension (arXiv:1910.07467). x [N, D] and weight [D] float32.
// Returns [N, D] of `dtype`. On the CPU the gradient of `weight` is summed over fixed blocks of rows, in an order that
// N alone decides.
at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps, at::ScalarType dtype = at::kFloat);

// Rotary position embedding (arXiv:2104.09864) in Hugging Face's layout, where component i is paired with i + K/2 and
// not with its neighbour. qkv [N, (H + 2 Hkv) K]; rope [N, 2, K/2] float32, cosines then sines. Returns q [N, H, K] and
// k [N, Hkv, K], rotated, and v [N, Hkv, K] as it was, all of qkv's dtype. `rope` gets no gradient.
std::tuple<at::Tensor, at::Tensor, at::Tensor> SplitAndRotate(const at::Tensor& qkv, const at::Tensor& rope,
                                                              int64_t num_heads, int64_t num_kv_heads);

// silu(gate) * up (arXiv:2002.05202) of gate_up [N, 2 F], gate first. Returns [N, F] of the same dtype. The sigmoid is
// computed again in the backward pass: only gate_up is kept.
at::Tensor SwiGlu(const at::Tensor& gate_up);

}  // namespace grpo

#endif  // GRPO_MODEL_FUSED_OPS_H_
