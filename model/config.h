// The shape of a policy, as read from and written to Hugging Face's config.json. Links no torch.
#ifndef GRPO_MODEL_CONFIG_H_
#define GRPO_MODEL_CONFIG_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace grpo {

// How the rotary embedding's frequencies are changed for contexts longer than the model was first trained on.
struct RopeScaling {
  enum class Type { kDefault, kLinear, kLlama3 };
  Type type = Type::kDefault;
  // Of kLinear and kLlama3: the context grows by this factor.
  double factor = 1;
  // Of kLlama3: wave lengths above original_max_positions / low_freq_factor are stretched by `factor`, those below
  // original_max_positions / high_freq_factor stay, and between them one passes into the other.
  double low_freq_factor = 1, high_freq_factor = 4;
  int64_t original_max_positions = 0;
};

struct ModelConfig {
  // Name in families.inc, Hugging Face's `model_type`.
  std::string family = "qwen2";
  int64_t vocab_size = 0, hidden_size = 0, intermediate_size = 0, num_layers = 0, num_heads = 0, num_kv_heads = 0;
  // Size of one head, K.
  int64_t head_dim = 0;
  int64_t max_positions = 0;
  double rope_theta = 10000, rms_norm_eps = 1e-6;
  RopeScaling rope_scaling;
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

  // Of a configuration that passes Validate.
  int64_t NumParameters() const;
  // InvalidArgument names the field, its value and what it must be.
  absl::Status Validate() const;
};

// The families of families.inc, in its order.
std::vector<std::string> ModelFamilyNames();

// InvalidArgument for JSON that is not an object, a family that is not in families.inc, a field that asks for what is
// not supported (named, with its value), and a field that is not known: it might change the forward pass. Reads what
// transformers 4 and 5 write. A completion ends at the end tokens of config.json and at those of
// `generation_config_json` (empty: there is none), where chat models often name more. `ignored` gets what the files ask
// for and is not done, a phrase each ("attention_dropout 0.1: dropout is not applied").
absl::StatusOr<ModelConfig> ParseModelConfig(absl::string_view config_json,
                                             absl::string_view generation_config_json = "",
                                             std::vector<std::string>* ignored = nullptr);
// What transformers loads; of a configuration that passes Validate.
std::string ModelConfigJson(const ModelConfig& config);

}  // namespace grpo

#endif  // GRPO_MODEL_CONFIG_H_
