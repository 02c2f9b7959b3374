// The decoder, once, for the trainer and for the sampler (DESIGN.md law 3): every layer computes on packed tokens [N, D] and leaves
// only "what does a token attend to" to an Attention, of which there is one for whole sequences and one for cached decoding.
#ifndef GRPO_MODEL_TRANSFORMER_H_
#define GRPO_MODEL_TRANSFORMER_H_

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "model/config.h"

namespace grpo {

// How the tokens of one forward pass see each other. One thread.
class Attention {
 public:
  virtual ~Attention() = default;
  // q [N, H, K], k and v [N, Hkv, K], already rotated; layer counts from 0. Returns [N, H, K].
  virtual at::Tensor Attend(int64_t layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) = 0;
};

// Whole sequences laid back to back: each token attends to the tokens of its own sequence up to itself. Differentiable.
class PackedAttention : public Attention {
 public:
  // Lengths of the sequences, in order; they sum to N.
  explicit PackedAttention(std::vector<int64_t> lengths);
  at::Tensor Attend(int64_t layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) override;

 private:
  std::vector<int64_t> lengths_;
  int64_t max_length_ = 0;
  // Where each packed token lies in [B * max_length]; undefined when all lengths are equal and nothing is padded.
  at::Tensor rows_;  // [N] int64
};

// A policy's weights and its forward pass. Thread-compatible: Forward may run concurrently with Forward, not with a change of weights.
class Transformer {
 public:
  // Weights are zero until InitializeRandom or a load. Errors of ModelConfig::Validate.
  static absl::StatusOr<std::unique_ptr<Transformer>> Create(const ModelConfig& config);

  // Matrices normal with deviation 1/sqrt(fan-in), half of that for the two projections back into the residual stream, 0.02 for the
  // embedding; norms 1; biases uniform within 1/sqrt(fan-in). Same seed, same weights.
  void InitializeRandom(uint64_t seed);

  // ids and positions [N] int64. Returns the hidden states after the final norm, [N, D].
  at::Tensor Forward(const at::Tensor& ids, const at::Tensor& positions, Attention& attention) const;
  // hidden [M, D]. Returns [M, V] float32.
  at::Tensor Logits(const at::Tensor& hidden) const;

  // Every parameter under Hugging Face's name, in a fixed order. A tied head is not listed. The tensors share storage with the model
  // and require grad once RequireGrad() was called.
  std::vector<std::pair<std::string, at::Tensor>> NamedParameters() const;
  void RequireGrad();

  const ModelConfig& config() const { return config_; }

  // PRIVATE PART TO BE DESIGNED BY THE IMPLEMENTER (replace this line).
 private:
  ModelConfig config_;
};

}  // namespace grpo

#endif  // GRPO_MODEL_TRANSFORMER_H_
