// The shape of a policy; model/families.h reads it from Hugging Face's config.json and writes it back. Links no torch.
#ifndef GRPO_MODEL_CONFIG_H_
#define GRPO_MODEL_CONFIG_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace grpo {

// How the rotary embedding's frequencies are changed for contexts longer than the model was first trained on.
struct RopeScaling {
  enum class Type { kDefault, kLinear, kLlama3 };
  // kLinear divides all frequencies by `factor`; kLlama3 is that of Llama 3.1 (arXiv:2407.21783).
  Type type = Type::kDefault;
  // Of kLinear and kLlama3: the context grows by this factor.
  double factor = 1;
  // Of kLlama3: wave lengths above original_max_positions / low_freq_factor are stretched by `factor`, those below
  // original_max_positions / high_freq_factor stay, and between them one passes into the other.
  double low_freq_factor = 1, high_freq_factor = 4;
  // In tokens.
  int64_t original_max_positions = 0;
};

// Sizes of a decoder with grouped-query attention, RMSNorm, SwiGLU and rotary positions. Plain data; Validate before
// use.
struct ModelConfig {
  // Name in families.inc, Hugging Face's `model_type`.
  std::string family = "qwen2";
  // V (up to 2^24), D (2^17), the width inside the SwiGLU (2^20), L (1024), H (1024) and Hkv, which divides H. Each at
  // least 1.
  int64_t vocab_size = 0, hidden_size = 0, intermediate_size = 0, num_layers = 0, num_heads = 0, num_kv_heads = 0;
  // Size of one head, K. Even, 2 to 4096; not always D / H.
  int64_t head_dim = 0;
  // Longest context in tokens, up to 2^24; times K at most 2^27, since the table of rotary angles is made whole.
  int64_t max_positions = 0;
  // Base of the rotary frequencies, at least 1; what RMSNorm adds to the mean square, 0 to 1.
  double rope_theta = 10000, rms_norm_eps = 1e-6;
  // How rotary frequencies are changed for contexts longer than those of the first training; by default not at all.
  RopeScaling rope_scaling;
  // Whether the output head is the embedding itself.
  bool tie_word_embeddings = true;
  // Whether q, k and v projections have a bias.
  bool attention_bias = true;
  // Whether each head of q and k is normalised (RMSNorm) before it is rotated.
  bool qk_norm = false;
  // Tokens that end a completion; at least one.
  std::vector<int64_t> eos_token_ids;
  // Fills rows that hold no token; the first end token when config.json names none.
  int64_t pad_token_id = 0;
  // Carried along for others; -1: config.json names none.
  int64_t bos_token_id = -1;

  // Of a configuration that passes Validate. A tied head counts once.
  int64_t NumParameters() const;
  // Of these, those in the layers' matrices: what products are computed with, and what travels in bfloat16.
  int64_t NumMatrixParameters() const;
  // InvalidArgument names the field, its value and what it must be. `family` is not looked at.
  absl::Status Validate() const;
};

}  // namespace grpo

#endif  // GRPO_MODEL_CONFIG_H_
