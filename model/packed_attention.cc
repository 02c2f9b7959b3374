#include <ATen/Parallel.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

#include <algorithm>
#include <utility>

#include "model/attention.h"
#include "model/attention_kernel.h"
#include "model/cpu_types.h"
#include "model/device_attention.h"

namespace grpo {

struct PackedAttention::Plan {
  struct Sequence {
    int64_t begin;     // row of its first token
    int64_t length;    // rows of its own
    int64_t position;  // of its first token: the length of what it goes on from
  };
  // A sequence that goes on from none, then those that go on from it, in order. One family and one key-value head are
  // one thread's task.
  using Family = std::vector<Sequence>;

  PackedLayout layout;
  std::vector<Family> families;
  int64_t num_rows = 0;
  // Of a sequence with what it goes on from.
  int64_t max_tokens = 0;
};

namespace {

using attention::kMaxRows;
using attention::TileOffset;
using attention::WholeTiles;
using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;
using Plan = PackedAttention::Plan;

// The plan on its way through autograd's saved data.
struct PlanHolder : torch::CustomClassHolder {
  explicit PlanHolder(std::shared_ptr<const Plan> held) : plan(std::move(held)) {}
  const std::shared_ptr<const Plan> plan;
};

// Numbers of one of q, k, v, of what is attended to, or of a gradient: [N, heads, K], dense.
template <typename T>
struct Heads {
  explicit Heads(const at::Tensor& tensor)
      : data(tensor.mutable_data_ptr<T>()), num_heads(tensor.size(1)), head_dim(tensor.size(2)) {}
  T* operator()(int64_t row, int64_t head) const { return data + (row * num_heads + head) * head_dim; }
  T* data;
  int64_t num_heads, head_dim;
};

// Keys, values and their gradients of one family and one head, in float32: the shared tokens first, then those of one
// sequence after the other in the same place.
struct HeadBuffers {
  HeadBuffers(int64_t max_tokens, int64_t head_dim)
      : head_dim(head_dim), size(WholeTiles(max_tokens) * head_dim), key_tiles(size), values(size) {}
  void MakeGradients() {
    for (std::vector<float>* buffer : {&value_tiles, &keys, &d_key_tiles, &d_value_tiles}) buffer->resize(size);
  }

  const int64_t head_dim, size;
  std::vector<float> key_tiles, values;
  // For the backward pass only.
  std::vector<float> value_tiles, keys, d_key_tiles, d_value_tiles;
};

// Calls body(token of the sequence, its position, its row).
template <typename Body>
void ForTokens(const Plan::Sequence& sequence, const Body& body) {
  for (int64_t t = 0; t < sequence.length; ++t) body(sequence.position + t, sequence.begin + t);
}

// One token's key and value, in every form that the pass reads.
template <typename T>
void StoreInto(HeadBuffers& to, int64_t position, const T* key, const T* value, bool with_gradients) {
  attention::StoreToken(key, value, to.key_tiles.data(), to.values.data(), position, to.head_dim);
  if (with_gradients) {
    attention::StoreToken(value, key, to.value_tiles.data(), to.keys.data(), position, to.head_dim);
  }
}

// The sequence's own tokens, their gradients zero.
template <typename T>
void LoadTokens(const Plan::Sequence& sequence, int64_t head, const Heads<T>& k, const Heads<T>& v, HeadBuffers& to,
                bool with_gradients) {
  ForTokens(sequence, [&](int64_t position, int64_t row) {
    StoreInto(to, position, k(row, head), v(row, head), with_gradients);
    if (!with_gradients) return;
    for (int64_t i = 0; i < to.head_dim; ++i) {
      const int64_t at = TileOffset(position, i, to.head_dim);
      to.d_key_tiles[at] = to.d_value_tiles[at] = 0;
    }
  });
  // What the last tile holds beyond the tokens must be finite.
  const std::vector<float> zeros(to.head_dim);
  const int64_t end = sequence.position + sequence.length;
  for (int64_t position = end; position < WholeTiles(end); ++position) {
    StoreInto(to, position, zeros.data(), zeros.data(), with_gradients);
  }
}

template <typename T>
void StoreGradients(const Plan::Sequence& sequence, int64_t head, const HeadBuffers& from, const Heads<T>& dk,
                    const Heads<T>& dv) {
  ForTokens(sequence, [&](int64_t position, int64_t row) {
    T *const d_key = dk(row, head), *const d_value = dv(row, head);
    for (int64_t i = 0; i < from.head_dim; ++i) {
      d_key[i] = static_cast<T>(from.d_key_tiles[TileOffset(position, i, from.head_dim)]);
      d_value[i] = static_cast<T>(from.d_value_tiles[TileOffset(position, i, from.head_dim)]);
    }
  });
}

// The rows that one call of the kernel computes: which token and which query head each is.
struct RowBlock {
  attention::Rows rows;
  int64_t row[kMaxRows], head[kMaxRows];
};

// Calls body(block) for the sequence's queries that read one key-value head, in blocks, the heads of a token side by
// side.
template <typename Body>
void ForQueries(const Plan::Sequence& sequence, int64_t first_head, int64_t num_heads, const Body& body) {
  RowBlock block;
  const auto flush = [&] {
    if (block.rows.count > 0) body(block);
    block.rows.count = 0;
  };
  ForTokens(sequence, [&](int64_t position, int64_t row) {
    for (int64_t head = first_head; head < first_head + num_heads; ++head) {
      const int64_t r = block.rows.count++;
      block.rows.num_tokens[r] = position + 1;
      block.row[r] = row;
      block.head[r] = head;
      if (block.rows.count == kMaxRows) flush();
    }
  });
  flush();
}

// The block's vectors, component by component: [K, R].
template <typename T>
void Interleave(const RowBlock& block, const Heads<T>& from, float* to) {
  for (int64_t r = 0; r < block.rows.count; ++r) {
    attention::SetRow(from(block.row[r], block.head[r]), r, block.rows.count, from.head_dim, to);
  }
}

template <typename T>
void StoreRows(const RowBlock& block, const float* from, const Heads<T>& to) {
  for (int64_t r = 0; r < block.rows.count; ++r) {
    T* const vector = to(block.row[r], block.head[r]);
    for (int64_t i = 0; i < to.head_dim; ++i) vector[i] = static_cast<T>(from[r * to.head_dim + i]);
  }
}

// Calls work(family, key-value head, buffers) for all of them, on as many threads as there are.
template <typename Work>
void ForFamilies(const Plan& plan, int64_t num_kv_heads, int64_t head_dim, const Work& work) {
  const int64_t num_tasks = static_cast<int64_t>(plan.families.size()) * num_kv_heads;
  at::parallel_for(0, num_tasks, 1, [&](int64_t begin, int64_t end) {
    HeadBuffers buffers(plan.max_tokens, head_dim);
    for (int64_t task = begin; task < end; ++task) {
      work(plan.families[task / num_kv_heads], task % num_kv_heads, buffers);
    }
  });
}

// log_sum_exp [N, H].
template <typename T>
void Forward(const Plan& plan, const Heads<T>& q, const Heads<T>& k, const Heads<T>& v, const Heads<T>& out,
             float* log_sum_exps) {
  const int64_t head_dim = q.head_dim, group = q.num_heads / k.num_heads;
  ForFamilies(plan, k.num_heads, head_dim, [&](const Plan::Family& family, int64_t kv_head, HeadBuffers& buffers) {
    std::vector<float> queries(kMaxRows * head_dim), outs(kMaxRows * head_dim), scratch;
    float log_sum_exp[kMaxRows];
    for (const Plan::Sequence& sequence : family) {
      LoadTokens(sequence, kv_head, k, v, buffers, /*with_gradients=*/false);
      ForQueries(sequence, kv_head * group, group, [&](RowBlock& block) {
        Interleave(block, q, queries.data());
        block.rows.queries = queries.data();
        attention::Attend(block.rows, {buffers.key_tiles.data(), buffers.values.data(), head_dim}, outs.data(),
                          log_sum_exp, scratch);
        StoreRows(block, outs.data(), out);
        for (int64_t r = 0; r < block.rows.count; ++r) {
          log_sum_exps[block.row[r] * q.num_heads + block.head[r]] = log_sum_exp[r];
        }
      });
    }
  });
}

// What the backward pass keeps of the forward pass, and what comes from behind.
template <typename T>
struct Kept {
  Heads<T> q, k, v, out, d_out;
  const float* log_sum_exps;  // [N, H]
};

template <typename T>
void BackwardOfQueries(const Plan::Sequence& sequence, int64_t kv_head, const Kept<T>& kept, HeadBuffers& buffers,
                       const Heads<T>& dq) {
  const int64_t head_dim = kept.q.head_dim, num_heads = kept.q.num_heads, group = num_heads / kept.k.num_heads;
  std::vector<float> queries(kMaxRows * head_dim), d_outs(kMaxRows * head_dim), d_queries(kMaxRows * head_dim), scratch;
  ForQueries(sequence, kv_head * group, group, [&](RowBlock& block) {
    float log_sum_exp[kMaxRows], delta[kMaxRows];
    for (int64_t r = 0; r < block.rows.count; ++r) {
      const T *const out = kept.out(block.row[r], block.head[r]), *const d_out =
                                                                      kept.d_out(block.row[r], block.head[r]);
      delta[r] = 0;
      for (int64_t i = 0; i < head_dim; ++i) delta[r] += static_cast<float>(out[i]) * static_cast<float>(d_out[i]);
      log_sum_exp[r] = kept.log_sum_exps[block.row[r] * num_heads + block.head[r]];
    }
    Interleave(block, kept.q, queries.data());
    Interleave(block, kept.d_out, d_outs.data());
    block.rows.queries = queries.data();
    attention::AttendBackward(block.rows,
                              {buffers.key_tiles.data(), buffers.value_tiles.data(), buffers.keys.data(), head_dim,
                               buffers.d_key_tiles.data(), buffers.d_value_tiles.data()},
                              d_outs.data(), log_sum_exp, delta, d_queries.data(), scratch);
    StoreRows(block, d_queries.data(), dq);
  });
}

template <typename T>
void Backward(const Plan& plan, const Kept<T>& kept, const Heads<T>& dq, const Heads<T>& dk, const Heads<T>& dv) {
  ForFamilies(plan, kept.k.num_heads, kept.q.head_dim,
              [&](const Plan::Family& family, int64_t kv_head, HeadBuffers& buffers) {
                buffers.MakeGradients();
                for (const Plan::Sequence& sequence : family) {
                  LoadTokens(sequence, kv_head, kept.k, kept.v, buffers, /*with_gradients=*/true);
                  BackwardOfQueries(sequence, kv_head, kept, buffers, dq);
                  if (&sequence != &family.front()) StoreGradients(sequence, kv_head, buffers, dk, dv);
                }
                // Last: all that go on from it have added to it.
                StoreGradients(family.front(), kv_head, buffers, dk, dv);
              });
}

struct PackedAttentionFunction : torch::autograd::Function<PackedAttentionFunction> {
  static Variable forward(AutogradContext* context, const Variable& q_in, const Variable& k_in, const Variable& v_in,
                          const std::shared_ptr<const Plan>& plan) {
    const at::Tensor q = q_in.contiguous(), k = k_in.contiguous(), v = v_in.contiguous();
    at::Tensor out = at::empty_like(q), log_sum_exps = at::empty({q.size(0), q.size(1)});
    WithCpuType(q.scalar_type(), [&](auto type) {
      using T = decltype(type);
      Forward<T>(*plan, Heads<T>(q), Heads<T>(k), Heads<T>(v), Heads<T>(out), log_sum_exps.data_ptr<float>());
    });
    context->save_for_backward({q, k, v, out, log_sum_exps});
    context->saved_data["plan"] = c10::IValue::make_capsule(c10::make_intrusive<PlanHolder>(plan));
    return out;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const auto held = c10::static_intrusive_pointer_cast<PlanHolder>(context->saved_data["plan"].toCapsule());
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &q = saved[0], &k = saved[1], &v = saved[2], d_out = grads[0].contiguous();
    at::Tensor dq = at::empty_like(q), dk = at::empty_like(k), dv = at::empty_like(v);
    WithCpuType(q.scalar_type(), [&](auto type) {
      using T = decltype(type);
      Backward<T>(*held->plan,
                  {Heads<T>(q), Heads<T>(k), Heads<T>(v), Heads<T>(saved[3]), Heads<T>(d_out),
                   saved[4].const_data_ptr<float>()},
                  Heads<T>(dq), Heads<T>(dk), Heads<T>(dv));
    });
    return {dq, dk, dv, Variable()};
  }
};

}  // namespace

PackedAttention::PackedAttention(PackedLayout layout) {
  const auto plan = std::make_shared<Plan>();
  const auto& [lengths, prefixes] = layout;
  const int64_t num_sequences = static_cast<int64_t>(lengths.size());
  TORCH_CHECK(prefixes.empty() || prefixes.size() == lengths.size(), "a layout of ", num_sequences, " sequences has ",
              prefixes.size(), " prefixes");
  std::vector<int64_t> family_of(num_sequences, -1);
  for (int64_t i = 0; i < num_sequences; ++i) {
    const int64_t prefix = prefixes.empty() ? -1 : prefixes[i];
    TORCH_CHECK(prefix < i && lengths[i] >= (prefix < 0 ? 1 : 0) && (prefix < 0 || family_of[prefix] >= 0), "sequence ",
                i, " of ", lengths[i], " rows cannot go on from sequence ", prefix);
    if (prefix < 0) {
      family_of[i] = static_cast<int64_t>(plan->families.size());
      plan->families.push_back({{.begin = plan->num_rows, .length = lengths[i], .position = 0}});
    } else {
      plan->families[family_of[prefix]].push_back(
          {.begin = plan->num_rows, .length = lengths[i], .position = lengths[prefix]});
    }
    plan->num_rows += lengths[i];
    plan->max_tokens = std::max(plan->max_tokens, lengths[i] + (prefix < 0 ? 0 : lengths[prefix]));
  }
  plan->layout = std::move(layout);
  plan_ = plan;
}

at::Tensor PackedAttention::Attend(int64_t, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  TORCH_CHECK(q.size(0) == plan_->num_rows, "attention over ", plan_->num_rows, " rows was given ", q.size(0));
  if (!q.is_cpu()) {
    const bool flash = FlashTakes(q);
    if (on_device_ == nullptr || on_device_->device() != q.device() || on_device_->flash() != flash) {
      on_device_ = std::make_shared<DeviceAttention>(plan_->layout, q.device(), flash);
    }
    return on_device_->Attend(q, k, v);
  }
  const bool in_kernel = (q.scalar_type() == at::kFloat || q.scalar_type() == at::kBFloat16) && q.size(2) % 2 == 0;
  return in_kernel ? PackedAttentionFunction::apply(q, k, v, plan_) : PlainPackedAttention(plan_->layout, q, k, v);
}

at::Tensor PlainPackedAttention(const PackedLayout& layout, const at::Tensor& q, const at::Tensor& k,
                                const at::Tensor& v) {
  std::vector<int64_t> begins;
  std::vector<at::Tensor> parts;
  int64_t begin = 0;
  for (size_t i = 0; i < layout.lengths.size(); ++i) {
    const int64_t length = layout.lengths[i], prefix = layout.prefixes.empty() ? -1 : layout.prefixes[i];
    // [1, heads, tokens, K], what the sequence goes on from included.
    const auto heads = [&](const at::Tensor& packed) {
      at::Tensor rows = packed.narrow(0, begin, length);
      if (prefix >= 0) rows = at::cat({packed.narrow(0, begins[prefix], layout.lengths[prefix]), rows});
      return rows.transpose(0, 1).unsqueeze(0);
    };
    const at::Tensor attended =
        at::scaled_dot_product_attention(heads(q), heads(k), heads(v), /*attn_mask=*/{}, /*dropout_p=*/0.0,
                                         /*is_causal=*/true, /*scale=*/{}, /*enable_gqa=*/q.size(1) != k.size(1));
    const at::Tensor rows = attended.squeeze(0).transpose(0, 1);  // [tokens, H, K]
    parts.push_back(rows.narrow(0, rows.size(0) - length, length));
    begins.push_back(begin);
    begin += length;
  }
  return parts.empty() ? at::empty_like(q) : at::cat(parts);
}

}  // namespace grpo
