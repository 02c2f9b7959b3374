#include "model/transformer.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/zeros.h>

#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/seeds.h"
#include "common/status_macros.h"
#include "model/activation_checkpoint.h"
#include "model/fused_ops.h"
#include "model/linear.h"
#include "model/rope.h"
#include "model/tensor.h"
#include "model/tf32.h"

namespace grpo {
namespace {

// Standard normal draws by Box and Muller, the same on every machine up to the last bits of libm.
void FillNormal(const at::Tensor& tensor, double deviation, Rng& rng) {
  constexpr double kTwoPi = 6.283185307179586;
  float* const data = tensor.data_ptr<float>();
  for (int64_t i = 0; i < tensor.numel(); i += 2) {
    const double radius = deviation * std::sqrt(-2 * std::log1p(-rng.Uniform()));
    const double angle = kTwoPi * rng.Uniform();
    data[i] = static_cast<float>(radius * std::cos(angle));
    if (i + 1 < tensor.numel()) data[i + 1] = static_cast<float>(radius * std::sin(angle));
  }
}

void FillUniform(const at::Tensor& tensor, double bound, Rng& rng) {
  float* const data = tensor.data_ptr<float>();
  for (int64_t i = 0; i < tensor.numel(); ++i) data[i] = static_cast<float>(bound * (2 * rng.Uniform() - 1));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Transformer>> Transformer::Create(const ModelConfig& config, Placement placement) {
  RETURN_IF_ERROR(config.Validate());
  RETURN_IF_ERROR(CheckPlacement(placement));
  return TorchGuard([&]() -> absl::StatusOr<std::unique_ptr<Transformer>> {
    return std::unique_ptr<Transformer>(new Transformer(config, placement));
  });
}

Transformer::Transformer(const ModelConfig& config, Placement placement) : config_(config), placement_(placement) {
  const int64_t hidden = config.hidden_size, qkv_rows = (config.num_heads + 2 * config.num_kv_heads) * config.head_dim;
  const auto zeros = [&](at::IntArrayRef shape, at::ScalarType dtype = at::kFloat) {
    return at::zeros(shape, at::TensorOptions(dtype).device(placement.device));
  };
  const auto matrix = [&](int64_t rows, int64_t columns) { return zeros({rows, columns}, placement.storage); };
  embedding_ = zeros({config.vocab_size, hidden});
  for (int64_t i = 0; i < config.num_layers; ++i) {
    layers_.push_back({.input_norm = zeros({hidden}),
                       .qkv_weight = matrix(qkv_rows, hidden),
                       .qkv_bias = config.attention_bias ? zeros({qkv_rows}) : at::Tensor(),
                       .q_norm = config.qk_norm ? zeros({config.head_dim}) : at::Tensor(),
                       .k_norm = config.qk_norm ? zeros({config.head_dim}) : at::Tensor(),
                       .o_weight = matrix(hidden, config.num_heads * config.head_dim),
                       .post_norm = zeros({hidden}),
                       .gate_up_weight = matrix(2 * config.intermediate_size, hidden),
                       .down_weight = matrix(hidden, config.intermediate_size)});
  }
  final_norm_ = zeros({hidden});
  head_ = config.tie_word_embeddings ? embedding_ : zeros({config.vocab_size, hidden});
  rope_ = RopeTable(config).to(placement.device);
}

void Transformer::InitializeRandom(uint64_t seed) {
  for (const auto& [name, parameter] : NamedParameters()) {
    // Drawn on the host: every device gets the same numbers.
    const at::Tensor there = parameter.detach(), tensor = there.cpu();
    // Named, so that a tensor's draws do not depend on which others there are.
    Rng rng(CombineSeeds(seed, HashName(name)));
    const double fan_in_scale = 1 / std::sqrt(static_cast<double>(tensor.size(-1)));
    if (absl::EndsWith(name, "norm.weight")) {
      tensor.fill_(1);
    } else if (absl::EndsWith(name, ".bias")) {
      FillUniform(tensor, 1 / std::sqrt(static_cast<double>(config_.hidden_size)), rng);
    } else if (absl::EndsWith(name, "embed_tokens.weight")) {
      FillNormal(tensor, 0.02, rng);
    } else {
      const bool into_residual = absl::EndsWith(name, "o_proj.weight") || absl::EndsWith(name, "down_proj.weight");
      FillNormal(tensor, into_residual ? 0.5 * fan_in_scale : fan_in_scale, rng);
    }
    if (!there.is_cpu()) there.copy_(tensor);
  }
}

void Transformer::CopyWeights(const Transformer& from) {
  const NamedTensors source = from.NamedParameters(), target = NamedParameters();
  TORCH_CHECK(source.size() == target.size(), "weights of another architecture");
  for (size_t i = 0; i < source.size(); ++i) target[i].second.detach().copy_(source[i].second.detach());
}

at::Tensor Transformer::Forward(const at::Tensor& ids, const at::Tensor& positions, Attention& attention,
                                const PackedWeights* packed, LayerOutputs* outputs) const {
  return ForwardThrough(ids, positions, outputs, [&](int64_t index, const at::Tensor& x, const at::Tensor& rope) {
    return ForwardLayer(index, x, rope, attention, packed != nullptr ? &packed->layers_[index] : nullptr);
  });
}

at::Tensor Transformer::CheckpointedForward(const at::Tensor& ids, const at::Tensor& positions,
                                            const std::shared_ptr<Attention>& attention, LayerOutputs* outputs) const {
  return ForwardThrough(ids, positions, outputs, [&](int64_t index, const at::Tensor& x, const at::Tensor& rope) {
    return Checkpoint(
        [this, index, rope, attention](const at::Tensor& in) { return ForwardLayer(index, in, rope, *attention); }, x);
  });
}

at::Tensor Transformer::ForwardThrough(
    const at::Tensor& ids, const at::Tensor& positions, LayerOutputs* outputs,
    absl::FunctionRef<at::Tensor(int64_t, const at::Tensor&, const at::Tensor&)> layer) const {
  TORCH_CHECK(outputs == nullptr || outputs->empty() ||
                  (outputs->begin()->first >= 1 && outputs->rbegin()->first <= config_.num_layers),
              "the output of a layer that does not exist is asked for");
  const at::Tensor rope = rope_.index_select(0, positions);  // [N, 2, K / 2]
  at::Tensor x = at::embedding(embedding_, ids);             // [N, D]
  for (int64_t i = 0; i < config_.num_layers; ++i) {
    x = layer(i, x, rope);
    if (outputs == nullptr) continue;
    if (const auto wanted = outputs->find(i + 1); wanted != outputs->end()) wanted->second = x;
  }
  return RmsNorm(x, final_norm_, config_.rms_norm_eps);
}

at::Tensor Transformer::ForwardLayer(int64_t index, const at::Tensor& x, const at::Tensor& rope, Attention& attention,
                                     const PackedWeights::Layer* packed) const {
  return MlpBlock(layers_[index], AttentionBlock(index, x, rope, attention, packed), packed);
}

at::Tensor Transformer::NormalizeHeads(const Layer& layer, const at::Tensor& qkv) const {
  const auto normalize = [&](int64_t first_head, int64_t num_heads, const at::Tensor& weight) {
    const at::Tensor heads = qkv.narrow(1, first_head * config_.head_dim, num_heads * config_.head_dim);
    const at::Tensor rows = heads.to(at::kFloat).reshape({-1, config_.head_dim});  // [N heads, K]
    return RmsNorm(rows, weight, config_.rms_norm_eps, placement_.compute).view(heads.sizes());
  };
  const int64_t kv_width = config_.num_kv_heads * config_.head_dim;
  return at::cat(
      {normalize(0, config_.num_heads, layer.q_norm), normalize(config_.num_heads, config_.num_kv_heads, layer.k_norm),
       qkv.narrow(1, qkv.size(1) - kv_width, kv_width)},
      1);
}

at::Tensor Transformer::AttentionBlock(int64_t index, const at::Tensor& x, const at::Tensor& rope, Attention& attention,
                                       const PackedWeights::Layer* packed) const {
  const Layer& layer = layers_[index];
  const at::Tensor normed = RmsNorm(x, layer.input_norm, config_.rms_norm_eps, placement_.compute);
  at::Tensor qkv = Linear(normed, layer.qkv_weight, layer.qkv_bias,
                          packed != nullptr ? packed->qkv.get() : nullptr);  // [N, (H + 2 Hkv) K]
  if (config_.qk_norm) qkv = NormalizeHeads(layer, qkv);
  const auto [q, k, v] = SplitAndRotate(qkv, rope, config_.num_heads, config_.num_kv_heads);
  const at::Tensor attended =
      attention.Attend(index, q, k, v).reshape({x.size(0), config_.num_heads * config_.head_dim});
  return AddLinear(x, attended, layer.o_weight, packed != nullptr ? packed->o.get() : nullptr);
}

at::Tensor Transformer::MlpBlock(const Layer& layer, const at::Tensor& x, const PackedWeights::Layer* packed) const {
  const at::Tensor normed = RmsNorm(x, layer.post_norm, config_.rms_norm_eps, placement_.compute);
  const at::Tensor gate_up = Linear(normed, layer.gate_up_weight, /*bias=*/{},
                                    packed != nullptr ? packed->gate_up.get() : nullptr);  // [N, 2 F]
  return AddLinear(x, SwiGlu(gate_up), layer.down_weight, packed != nullptr ? packed->down.get() : nullptr);
}

at::Tensor Transformer::Logits(const at::Tensor& hidden, const PackedWeights* packed) const {
  const Tf32Scope tf32(placement_.head_tf32);
  return Float32Linear(hidden.to(placement_.head), head_, packed != nullptr ? packed->head_.get() : nullptr);
}

void PackedWeights::Fill(const Transformer& model) {
  layers_.resize(model.layers_.size());
  const auto pack = [&](const at::Tensor& weight, at::ScalarType type, std::unique_ptr<PackedMatrix>& packed) {
    PackWeight(weight.detach().to(type), num_rows_, packed);
  };
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Transformer::Layer& layer = model.layers_[i];
    pack(layer.qkv_weight, model.placement_.compute, layers_[i].qkv);
    pack(layer.o_weight, model.placement_.compute, layers_[i].o);
    pack(layer.gate_up_weight, model.placement_.compute, layers_[i].gate_up);
    pack(layer.down_weight, model.placement_.compute, layers_[i].down);
  }
  pack(model.head_, model.placement_.head, head_);
}

int64_t PackedWeights::size_bytes() const {
  int64_t total = head_ == nullptr ? 0 : head_->size_bytes();
  for (const Layer& layer : layers_) {
    for (const auto* const matrix : {&layer.qkv, &layer.o, &layer.gate_up, &layer.down}) {
      total += (*matrix)->size_bytes();
    }
  }
  return total;
}

bool Transformer::RowsAreIndependent() const {
  return placement_.device.is_cpu() && grpo::RowsAreIndependent(placement_.compute) &&
         grpo::RowsAreIndependent(placement_.head);
}

NamedTensors Transformer::NamedParameters() const {
  NamedTensors result = {{"model.embed_tokens.weight", embedding_}};
  for (size_t i = 0; i < layers_.size(); ++i) {
    const Layer& layer = layers_[i];
    const std::string prefix = absl::StrCat("model.layers.", i, ".");
    result.emplace_back(prefix + "input_layernorm.weight", layer.input_norm);
    result.emplace_back(prefix + "self_attn.qkv_proj.weight", layer.qkv_weight);
    if (layer.qkv_bias.defined()) result.emplace_back(prefix + "self_attn.qkv_proj.bias", layer.qkv_bias);
    if (layer.q_norm.defined()) {
      result.emplace_back(prefix + "self_attn.q_norm.weight", layer.q_norm);
      result.emplace_back(prefix + "self_attn.k_norm.weight", layer.k_norm);
    }
    result.emplace_back(prefix + "self_attn.o_proj.weight", layer.o_weight);
    result.emplace_back(prefix + "post_attention_layernorm.weight", layer.post_norm);
    result.emplace_back(prefix + "mlp.gate_up_proj.weight", layer.gate_up_weight);
    result.emplace_back(prefix + "mlp.down_proj.weight", layer.down_weight);
  }
  result.emplace_back("model.norm.weight", final_norm_);
  if (!config_.tie_word_embeddings) result.emplace_back("lm_head.weight", head_);
  return result;
}

NamedTensors Transformer::HuggingFaceTensors() const {
  const int64_t q_rows = config_.num_heads * config_.head_dim, kv_rows = config_.num_kv_heads * config_.head_dim;
  NamedTensors result;
  // Adds the parts of a fused tensor, or the tensor itself when its name shows that it is none.
  const auto add = [&](const std::string& name, const at::Tensor& tensor, absl::string_view fused,
                       const std::vector<std::pair<const char*, int64_t>>& parts) {
    const size_t at = name.find(std::string(fused));
    if (at == std::string::npos) return false;
    int64_t row = 0;
    for (const auto& [part, num_rows] : parts) {
      std::string part_name = name;
      part_name.replace(at, fused.size(), part);
      result.emplace_back(std::move(part_name), tensor.narrow(0, row, num_rows));
      row += num_rows;
    }
    return true;
  };
  for (const auto& [name, parameter] : NamedParameters()) {
    const at::Tensor tensor = parameter.detach();
    if (add(name, tensor, "qkv_proj", {{"q_proj", q_rows}, {"k_proj", kv_rows}, {"v_proj", kv_rows}})) continue;
    if (add(name, tensor, "gate_up_proj",
            {{"gate_proj", config_.intermediate_size}, {"up_proj", config_.intermediate_size}})) {
      continue;
    }
    result.emplace_back(name, tensor);
  }
  return result;
}

void Transformer::RequireGrad() {
  for (auto& [name, parameter] : NamedParameters()) parameter.requires_grad_(true);
}

}  // namespace grpo
