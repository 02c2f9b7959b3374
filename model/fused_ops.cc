#include "model/fused_ops.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "model/cpu_types.h"
#include "model/simd.h"
#include "model/threads.h"

namespace grpo {
namespace {

using simd::Fill;
using simd::Floats;
using simd::kLanes;
using simd::Load;
using simd::Store;
using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

// The fixed blocks of rows that the gradient of a norm's weight is summed over, whatever the number of threads.
constexpr int64_t kBlockRows = 64;

int64_t NumBlocks(int64_t num_rows) {
  return (num_rows + kBlockRows - 1) / kBlockRows;
}

// Calls work(begin row, end row) on as many threads as pay for rows of `width` numbers. No row's result may depend on
// its neighbours.
template <typename Work>
void ForRows(int64_t num_rows, int64_t width, const Work& work) {
  at::parallel_for(0, num_rows, RowsPerThread(width), work);
}

// Calls work(block, begin row, end row) for every block of rows, on as many threads as there are.
template <typename Work>
void ForEachBlock(int64_t num_rows, const Work& work) {
  at::parallel_for(0, NumBlocks(num_rows), 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      work(block, block * kBlockRows, std::min(num_rows, (block + 1) * kBlockRows));
    }
  });
}

void Check(bool fits, const char* what) {
  TORCH_CHECK(fits, "fused operation: ", what);
}

at::Tensor Dense(const at::Tensor& tensor, at::ScalarType dtype) {
  Check(tensor.scalar_type() == dtype && tensor.device().is_cpu(), "expects tensors on the CPU, of one dtype");
  return tensor.contiguous();
}

// inverse_rms [rows]: what the backward pass needs again.
template <typename T>
GRPO_SIMD_CLONES void RmsNormRows(const float* x, const float* weight, T* y, float* inverse_rms, int64_t num_rows,
                                  int64_t width, float eps) {
  for (int64_t row = 0; row < num_rows; ++row, x += width, y += width) {
    Floats squares = {};
    for (int64_t i = 0; i < width; i += kLanes) {
      const Floats value = Load(x + i, std::min(kLanes, width - i));
      squares += value * value;
    }
    const float scale = 1.0f / std::sqrt(simd::Sum(squares) / static_cast<float>(width) + eps);
    inverse_rms[row] = scale;
    for (int64_t i = 0; i < width; i += kLanes) {
      const int64_t count = std::min(kLanes, width - i);
      Store(y + i, Load(x + i, count) * scale * Load(weight + i, count), count);
    }
  }
}

// With n = x * inverse_rms: dx = inverse_rms * (g - n * mean(g * n)), g = dy * weight; dweight += dy * n.
template <typename T>
GRPO_SIMD_CLONES void RmsNormGradRows(const T* dy, const float* x, const float* weight, const float* inverse_rms,
                                      float* dx, float* dweight, int64_t num_rows, int64_t width) {
  for (int64_t row = 0; row < num_rows; ++row, dy += width, x += width, dx += width) {
    const float scale = inverse_rms[row];
    Floats products = {};
    for (int64_t i = 0; i < width; i += kLanes) {
      const int64_t count = std::min(kLanes, width - i);
      const Floats normed = Load(x + i, count) * scale, grad = Load(dy + i, count);
      products += grad * Load(weight + i, count) * normed;
      Store(dweight + i, Load(dweight + i, count) + grad * normed, count);
    }
    const float mean = simd::Sum(products) / static_cast<float>(width);
    for (int64_t i = 0; i < width; i += kLanes) {
      const int64_t count = std::min(kLanes, width - i);
      const Floats normed = Load(x + i, count) * scale;
      Store(dx + i, (Load(dy + i, count) * Load(weight + i, count) - normed * mean) * scale, count);
    }
  }
}

struct RmsNormFunction : torch::autograd::Function<RmsNormFunction> {
  static Variable forward(AutogradContext* context, const Variable& x_in, const Variable& weight_in, double eps,
                          at::ScalarType dtype) {
    const at::Tensor x = Dense(x_in, at::kFloat), weight = Dense(weight_in, at::kFloat);
    const int64_t num_rows = x.size(0), width = x.size(1);
    Check(weight.numel() == width, "RmsNorm's weight has another width than x");
    at::Tensor y = at::empty(x.sizes(), dtype), inverse_rms = at::empty({num_rows});
    const float *const from = x.const_data_ptr<float>(), *const scale = weight.const_data_ptr<float>();
    float* const rms = inverse_rms.data_ptr<float>();
    WithCpuType(dtype, [&](auto type) {
      auto* const to = y.data_ptr<decltype(type)>();
      ForRows(num_rows, width, [&](int64_t begin, int64_t end) {
        RmsNormRows(from + begin * width, scale, to + begin * width, rms + begin, end - begin, width,
                    static_cast<float>(eps));
      });
    });
    context->save_for_backward({x, weight, inverse_rms});
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &inverse_rms = saved[2];
    const at::Tensor dy = grads[0].contiguous();
    const int64_t num_rows = x.size(0), width = x.size(1);
    at::Tensor dx = at::empty_like(x), dweight = at::zeros({NumBlocks(num_rows), width});
    const float *const from = x.const_data_ptr<float>(), *const scale = weight.const_data_ptr<float>();
    const float* const rms = inverse_rms.const_data_ptr<float>();
    float *const to = dx.data_ptr<float>(), *const to_weight = dweight.data_ptr<float>();
    WithCpuType(dy.scalar_type(), [&](auto type) {
      const auto* const grad = dy.const_data_ptr<decltype(type)>();
      ForEachBlock(num_rows, [&](int64_t block, int64_t begin, int64_t end) {
        RmsNormGradRows(grad + begin * width, from + begin * width, scale, rms + begin, to + begin * width,
                        to_weight + block * width, end - begin, width);
      });
    });
    return {dx, dweight.sum(0), Variable(), Variable()};
  }
};

// One head: (a, b) becomes (a cos - b sin, b cos + a sin), halves a and b of K. direction -1 turns back, which is the
// derivative. A plain loop, because half a head is often shorter than a vector of simd.h; the compiler picks the width.
template <typename T>
GRPO_SIMD_INLINE void RotateHead(const T* __restrict from, const float* __restrict rope, T* __restrict to, int64_t half,
                                 float direction) {
  for (int64_t i = 0; i < half; ++i) {
    const float cosine = rope[i], sine = rope[half + i] * direction, a = from[i], b = from[half + i];
    to[i] = static_cast<T>(a * cosine - b * sine);
    to[half + i] = static_cast<T>(b * cosine + a * sine);
  }
}

// Shapes of a fused projection row: q heads, then k, then v.
struct HeadShape {
  int64_t num_heads, num_kv_heads, half;
  int64_t width() const { return (num_heads + 2 * num_kv_heads) * 2 * half; }
};

template <typename T>
GRPO_SIMD_CLONES void SplitRows(const T* qkv, const float* rope, T* q, T* k, T* v, int64_t num_rows,
                                const HeadShape& shape) {
  const int64_t head = 2 * shape.half;
  for (int64_t row = 0; row < num_rows; ++row, rope += head) {
    for (int64_t h = 0; h < shape.num_heads; ++h, qkv += head, q += head) RotateHead(qkv, rope, q, shape.half, 1.0f);
    for (int64_t h = 0; h < shape.num_kv_heads; ++h, qkv += head, k += head) RotateHead(qkv, rope, k, shape.half, 1.0f);
    std::memcpy(v, qkv, shape.num_kv_heads * head * sizeof(T));
    qkv += shape.num_kv_heads * head;
    v += shape.num_kv_heads * head;
  }
}

template <typename T>
GRPO_SIMD_CLONES void SplitGradRows(const T* dq, const T* dk, const T* dv, const float* rope, T* dqkv, int64_t num_rows,
                                    const HeadShape& shape) {
  const int64_t head = 2 * shape.half;
  for (int64_t row = 0; row < num_rows; ++row, rope += head) {
    for (int64_t h = 0; h < shape.num_heads; ++h, dqkv += head, dq += head)
      RotateHead(dq, rope, dqkv, shape.half, -1.0f);
    for (int64_t h = 0; h < shape.num_kv_heads; ++h, dqkv += head, dk += head)
      RotateHead(dk, rope, dqkv, shape.half, -1.0f);
    std::memcpy(dqkv, dv, shape.num_kv_heads * head * sizeof(T));
    dqkv += shape.num_kv_heads * head;
    dv += shape.num_kv_heads * head;
  }
}

struct SplitAndRotateFunction : torch::autograd::Function<SplitAndRotateFunction> {
  static variable_list forward(AutogradContext* context, const Variable& qkv_in, const Variable& rope_in,
                               int64_t num_heads, int64_t num_kv_heads) {
    const at::Tensor qkv = Dense(qkv_in, qkv_in.scalar_type()), rope = Dense(rope_in, at::kFloat);
    const HeadShape shape = {num_heads, num_kv_heads, rope.size(2)};
    const int64_t num_rows = qkv.size(0), head = 2 * shape.half;
    Check(qkv.size(1) == shape.width() && rope.size(0) == num_rows,
          "SplitAndRotate's qkv and rope do not fit the heads");
    at::Tensor q = at::empty({num_rows, num_heads, head}, qkv.options()),
               k = at::empty({num_rows, num_kv_heads, head}, qkv.options()), v = at::empty_like(k);
    const float* const angles = rope.const_data_ptr<float>();
    const int64_t q_width = num_heads * head, kv_width = num_kv_heads * head;
    WithCpuType(qkv.scalar_type(), [&](auto type) {
      using T = decltype(type);
      const T* const from = qkv.const_data_ptr<T>();
      T *const to_q = q.data_ptr<T>(), *const to_k = k.data_ptr<T>(), *const to_v = v.data_ptr<T>();
      ForRows(num_rows, shape.width(), [&](int64_t begin, int64_t end) {
        SplitRows(from + begin * shape.width(), angles + begin * head, to_q + begin * q_width, to_k + begin * kv_width,
                  to_v + begin * kv_width, end - begin, shape);
      });
    });
    context->save_for_backward({rope});
    return {q, k, v};
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const at::Tensor rope = context->get_saved_variables()[0];
    const at::ScalarType dtype = grads[0].scalar_type();
    const at::Tensor dq = Dense(grads[0], dtype), dk = Dense(grads[1], dtype), dv = Dense(grads[2], dtype);
    const HeadShape shape = {dq.size(1), dk.size(1), rope.size(2)};
    const int64_t num_rows = dq.size(0), head = 2 * shape.half;
    at::Tensor dqkv = at::empty({num_rows, shape.width()}, dq.options());
    const float* const angles = rope.const_data_ptr<float>();
    const int64_t q_width = shape.num_heads * head, kv_width = shape.num_kv_heads * head;
    WithCpuType(dtype, [&](auto type) {
      using T = decltype(type);
      const T *const from_q = dq.const_data_ptr<T>(), *const from_k = dk.const_data_ptr<T>();
      const T* const from_v = dv.const_data_ptr<T>();
      T* const to = dqkv.data_ptr<T>();
      ForRows(num_rows, shape.width(), [&](int64_t begin, int64_t end) {
        SplitGradRows(from_q + begin * q_width, from_k + begin * kv_width, from_v + begin * kv_width,
                      angles + begin * head, to + begin * shape.width(), end - begin, shape);
      });
    });
    return {dqkv, Variable(), Variable(), Variable()};
  }
};

template <typename T>
GRPO_SIMD_CLONES void SwiGluRows(const T* gate_up, T* y, int64_t num_rows, int64_t width) {
  for (int64_t row = 0; row < num_rows; ++row, gate_up += 2 * width, y += width) {
    for (int64_t i = 0; i < width; i += kLanes) {
      const int64_t count = std::min(kLanes, width - i);
      const Floats gate = Load(gate_up + i, count), up = Load(gate_up + width + i, count);
      Store(y + i, gate / (1.0f + simd::Exp(-gate)) * up, count);
    }
  }
}

// With s = sigmoid(gate): d silu / d gate = s * (1 + gate * (1 - s)).
template <typename T>
GRPO_SIMD_CLONES void SwiGluGradRows(const T* dy, const T* gate_up, T* d_gate_up, int64_t num_rows, int64_t width) {
  for (int64_t row = 0; row < num_rows; ++row, dy += width, gate_up += 2 * width, d_gate_up += 2 * width) {
    for (int64_t i = 0; i < width; i += kLanes) {
      const int64_t count = std::min(kLanes, width - i);
      const Floats gate = Load(gate_up + i, count), up = Load(gate_up + width + i, count), grad = Load(dy + i, count);
      const Floats sigmoid = 1.0f / (1.0f + simd::Exp(-gate));
      Store(d_gate_up + i, grad * up * sigmoid * (1.0f + gate * (1.0f - sigmoid)), count);
      Store(d_gate_up + width + i, grad * gate * sigmoid, count);
    }
  }
}

struct SwiGluFunction : torch::autograd::Function<SwiGluFunction> {
  static Variable forward(AutogradContext* context, const Variable& gate_up_in) {
    const at::Tensor gate_up = Dense(gate_up_in, gate_up_in.scalar_type());
    const int64_t num_rows = gate_up.size(0), width = gate_up.size(1) / 2;
    at::Tensor y = at::empty({num_rows, width}, gate_up.options());
    WithCpuType(gate_up.scalar_type(), [&](auto type) {
      using T = decltype(type);
      const T* const from = gate_up.const_data_ptr<T>();
      T* const to = y.data_ptr<T>();
      ForRows(num_rows, width, [&](int64_t begin, int64_t end) {
        SwiGluRows(from + begin * 2 * width, to + begin * width, end - begin, width);
      });
    });
    context->save_for_backward({gate_up});
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const at::Tensor gate_up = context->get_saved_variables()[0], dy = Dense(grads[0], gate_up.scalar_type());
    const int64_t num_rows = dy.size(0), width = dy.size(1);
    at::Tensor d_gate_up = at::empty_like(gate_up);
    WithCpuType(gate_up.scalar_type(), [&](auto type) {
      using T = decltype(type);
      const T *const grad = dy.const_data_ptr<T>(), *const from = gate_up.const_data_ptr<T>();
      T* const to = d_gate_up.data_ptr<T>();
      ForRows(num_rows, width, [&](int64_t begin, int64_t end) {
        SwiGluGradRows(grad + begin * width, from + begin * 2 * width, to + begin * 2 * width, end - begin, width);
      });
    });
    return {d_gate_up};
  }
};

// What follows runs on other devices, by ATen's kernels.

// heads [N, heads, K] of one projection, rope [N, 2, K / 2]: each rotated, in heads' dtype. Numbers of float32 and
// bfloat16 multiply in float32.
at::Tensor RotateOnDevice(const at::Tensor& heads, const at::Tensor& rope) {
  const std::vector<at::Tensor> halves = heads.chunk(2, 2);                                         // a, b
  const at::Tensor cosine = rope.select(1, 0).unsqueeze(1), sine = rope.select(1, 1).unsqueeze(1);  // [N, 1, K / 2]
  return at::cat({halves[0] * cosine - halves[1] * sine, halves[1] * cosine + halves[0] * sine}, 2)
      .to(heads.scalar_type());
}

// Keeps gate_up only, as the CPU's does.
struct DeviceSwiGluFunction : torch::autograd::Function<DeviceSwiGluFunction> {
  static Variable forward(AutogradContext* context, const Variable& gate_up) {
    context->save_for_backward({gate_up});
    const std::vector<at::Tensor> parts = gate_up.chunk(2, 1);
    return at::silu(parts[0]) * parts[1];
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const std::vector<at::Tensor> parts = context->get_saved_variables()[0].chunk(2, 1);
    const at::Tensor gate = parts[0].to(at::kFloat), sigmoid = gate.sigmoid(), dy = grads[0].to(at::kFloat);
    const at::Tensor d_gate = dy * parts[1] * sigmoid * (1 + gate * (1 - sigmoid)), d_up = dy * gate * sigmoid;
    return {at::cat({d_gate, d_up}, 1).to(grads[0].scalar_type())};
  }
};

}  // namespace

at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps, at::ScalarType dtype) {
  if (!x.is_cpu()) return at::rms_norm(x, {x.size(1)}, weight, eps).to(dtype);
  return RmsNormFunction::apply(x, weight, eps, dtype);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> SplitAndRotate(const at::Tensor& qkv, const at::Tensor& rope,
                                                              int64_t num_heads, int64_t num_kv_heads) {
  if (!qkv.is_cpu()) {
    const std::vector<at::Tensor> heads = qkv.unflatten(1, {num_heads + 2 * num_kv_heads, 2 * rope.size(2)})
                                              .split_with_sizes({num_heads, num_kv_heads, num_kv_heads}, 1);
    return {RotateOnDevice(heads[0], rope), RotateOnDevice(heads[1], rope), heads[2]};
  }
  variable_list parts = SplitAndRotateFunction::apply(qkv, rope, num_heads, num_kv_heads);
  return {parts[0], parts[1], parts[2]};
}

at::Tensor SwiGlu(const at::Tensor& gate_up) {
  if (!gate_up.is_cpu()) return DeviceSwiGluFunction::apply(gate_up);
  return SwiGluFunction::apply(gate_up);
}

}  // namespace grpo
