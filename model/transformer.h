// The decoder, once, for the trainer and for the sampler (docs/design.md law 3): every layer computes on packed tokens
// [N, D] and leaves only "what does a token attend to" to an Attention, of which there is one for whole sequences and
// one for cached decoding.
//
// What an optimizer updates are fused matrices (one for q, k and v, one for gate and up), because small models are
// bound by the number of operations. Files and manifests speak of Hugging Face's tensors, which are views of the fused
// ones.
//
// Shapes that do not fit are a bug of the caller; torch reports them by an exception, which TorchGuard (model/tensor.h)
// ends.
#ifndef GRPO_MODEL_TRANSFORMER_H_
#define GRPO_MODEL_TRANSFORMER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "model/attention.h"
#include "model/config.h"
#include "model/matmul.h"
#include "model/placement.h"

namespace grpo {

// Name -> tensor, in an order that means something.
using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

// What leaves chosen layers in a pass: by layer, counted from 1, [N, D] float32. Whoever passes one names the layers by
// empty tensors, and the pass fills them.
using LayerOutputs = std::map<int64_t, at::Tensor>;

class Transformer;

// A model's matrices once more, in the layout in which products with a given number of rows are fastest: for decode
// steps, which have as many rows as slots. Of models on the CPU alone. Thread-compatible.
class PackedWeights {
 public:
  // For passes over num_rows rows.
  explicit PackedWeights(int64_t num_rows) : num_rows_(num_rows) {}
  // Takes the model's weights as they are now; later changes of them do not show here. The first time it allocates as
  // much as the matrices take in the types that they are computed in. Every time the same architecture and types.
  void Fill(const Transformer& model);
  int64_t size_bytes() const;

 private:
  friend class Transformer;
  struct Layer {
    std::unique_ptr<PackedMatrix> qkv, o, gate_up, down;
  };

  const int64_t num_rows_;
  std::vector<Layer> layers_;
  std::unique_ptr<PackedMatrix> head_;
};

// A policy's weights and its forward pass. Thread-compatible: Forward may run concurrently with Forward, not with a
// change of weights.
class Transformer {
 public:
  // Weights are zero until InitializeRandom or a load. Errors of ModelConfig::Validate and CheckPlacement; Internal
  // when memory is short. Allocates all of it.
  static absl::StatusOr<std::unique_ptr<Transformer>> Create(const ModelConfig& config, Placement placement = {});

  // Matrices normal with deviation 1/sqrt(fan-in), half of that for the two projections back into the residual stream,
  // 0.02 for the embedding; norms 1; biases uniform within 1/sqrt(fan-in). Same seed, same weights. Each tensor's
  // numbers come from the seed and its name, on every device the same. REQUIRES: weights kept in float32.
  void InitializeRandom(uint64_t seed);

  // Takes the numbers of another model of the same architecture, in the types that are kept here, from whichever device
  // they lie on. Misfits end in an exception of torch.
  void CopyWeights(const Transformer& from);

  // ids and positions [N] int64, on the model's device; positions below max_positions. Returns the hidden states after
  // the final norm, [N, D] float32. Differentiable when the parameters require grad. N may hold several sequences:
  // `attention` knows where they begin, and is used for this pass only. `packed`, of this model's weights and N rows,
  // is for passes without gradients, and may be null; with it the bits are the same where MatMulTraits say so
  // (model/matmul.h). `outputs` may be null; a layer in it that does not exist is a bug.
  at::Tensor Forward(const at::Tensor& ids, const at::Tensor& positions, Attention& attention,
                     const PackedWeights* packed = nullptr, LayerOutputs* outputs = nullptr) const;
  // The same, keeping for the backward pass the input of each layer only (activation checkpointing): each layer is
  // computed twice. The model must live until then. The same values as Forward. `attention` is kept until the backward
  // pass; it must be one that may be called again, such as PackedAttention.
  at::Tensor CheckpointedForward(const at::Tensor& ids, const at::Tensor& positions,
                                 const std::shared_ptr<Attention>& attention, LayerOutputs* outputs = nullptr) const;
  // hidden [M, D]. Returns [M, V]. float32, before any temperature. `packed` as above, for M rows.
  at::Tensor Logits(const at::Tensor& hidden, const PackedWeights* packed = nullptr) const;
  // The rows that Logits multiplies with, [V, D]: for TargetLogprobs (model/lm_head.h).
  const at::Tensor& head() const { return head_; }

  // What an optimizer updates: the fused leaves ("model.layers.0.self_attn.qkv_proj.weight",
  // "...mlp.gate_up_proj.weight", ...), in a fixed order. A tied head is not listed. The tensors share storage with the
  // model and carry .grad() after RequireGrad(). The names are the same in every process of a run.
  NamedTensors NamedParameters() const;
  // All leaves require grad from now on. Not for a model that keeps bfloat16 weights to sample.
  void RequireGrad();

  // The same numbers under Hugging Face's names and shapes, in a fixed order, detached: views for import and export.
  // Writing to them changes the model. A tied head is not among them.
  NamedTensors HuggingFaceTensors() const;

  // Whether a row of a forward pass has the same bits however many rows there are: as the machine's products have it
  // (model/matmul.h), for attention and the rest have it in any case. Never on a device, whose libraries choose their
  // kernels by size.
  bool RowsAreIndependent() const;

  const ModelConfig& config() const { return config_; }
  const Placement& placement() const { return placement_; }

 private:
  friend class PackedWeights;
  // The weights of one decoder layer, as they are computed with: q, k and v in one matrix, gate and up in one.
  struct Layer {
    at::Tensor input_norm;      // [D]
    at::Tensor qkv_weight;      // [(H + 2 Hkv) K, D]: rows of q, then k, then v
    at::Tensor qkv_bias;        // [(H + 2 Hkv) K]; undefined without attention_bias
    at::Tensor q_norm, k_norm;  // [K]; undefined without qk_norm
    at::Tensor o_weight;        // [D, H K]
    at::Tensor post_norm;       // [D]
    at::Tensor gate_up_weight;  // [2 F, D]: rows of gate, then up
    at::Tensor down_weight;     // [D, F]
  };

  Transformer(const ModelConfig& config, Placement placement);
  // The forward pass, with `layer(index, x, rope)` as what takes x [N, D] through each layer.
  at::Tensor ForwardThrough(
      const at::Tensor& ids, const at::Tensor& positions, LayerOutputs* outputs,
      absl::FunctionRef<at::Tensor(int64_t index, const at::Tensor& x, const at::Tensor& rope)> layer) const;
  // x [N, D] float32 through layer `index`.
  at::Tensor ForwardLayer(int64_t index, const at::Tensor& x, const at::Tensor& rope, Attention& attention,
                          const PackedWeights::Layer* packed = nullptr) const;
  // The two halves of a layer, each with its norm and its residual: x [N, D] float32 to the same. `packed`: the layer's
  // own, or null.
  at::Tensor AttentionBlock(int64_t index, const at::Tensor& x, const at::Tensor& rope, Attention& attention,
                            const PackedWeights::Layer* packed) const;
  at::Tensor MlpBlock(const Layer& layer, const at::Tensor& x, const PackedWeights::Layer* packed) const;
  // qkv [N, (H + 2 Hkv) K] with the heads of q and k normalised.
  at::Tensor NormalizeHeads(const Layer& layer, const at::Tensor& qkv) const;

  const ModelConfig config_;
  const Placement placement_;
  at::Tensor embedding_;  // [V, D]
  std::vector<Layer> layers_;
  at::Tensor final_norm_;  // [D]
  at::Tensor head_;        // [V, D]; the embedding itself when tied
  // Cosines, then sines, of position times frequency: a weightless part of the model.
  at::Tensor rope_;  // [max_positions, 2, K / 2]
};

}  // namespace grpo

#endif  // GRPO_MODEL_TRANSFORMER_H_
