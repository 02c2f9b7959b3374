#include "model/random_init.h"

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace grpo {

absl::StatusOr<ModelConfig> RandomInitConfig(const PolicyOptions::RandomInit& options, const Tokenizer& tokenizer) {
  const auto eos = tokenizer.TokenId(options.eos_token);
  if (!eos.ok()) return absl::InvalidArgumentError(absl::StrCat("random_init.eos_token: ", eos.status().message()));
  if (options.num_heads <= 0 || options.hidden_size % options.num_heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat("random_init.hidden_size ", options.hidden_size,
                                                   " is not a multiple of num_heads ", options.num_heads));
  }
  ModelConfig config;
  config.vocab_size = tokenizer.vocab_size();
  config.hidden_size = options.hidden_size;
  config.intermediate_size = options.intermediate_size;
  config.num_layers = options.num_layers;
  config.num_heads = options.num_heads;
  config.num_kv_heads = options.num_kv_heads;
  config.head_dim = options.hidden_size / options.num_heads;
  config.max_positions = options.max_positions;
  config.rope_theta = options.rope_theta;
  config.rms_norm_eps = options.rms_norm_eps;
  config.eos_token_ids = {*eos};
  RETURN_IF_ERROR(config.Validate());
  return config;
}

}  // namespace grpo
