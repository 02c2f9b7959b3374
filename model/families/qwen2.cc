// Qwen2 (arXiv:2407.10671): RMSNorm, rotary embedding, grouped-query attention with biases on q, k and v, SwiGLU.
#include "model/family.h"

namespace grpo {
namespace {

void Read(ConfigReader& reader, ModelConfig& config) {
  config.vocab_size = reader.Int("vocab_size");
  config.hidden_size = reader.Int("hidden_size");
  config.intermediate_size = reader.Int("intermediate_size");
  config.num_layers = reader.Int("num_hidden_layers");
  config.num_heads = reader.Int("num_attention_heads");
  config.num_kv_heads = reader.IntOr("num_key_value_heads", config.num_heads);
  config.head_dim = reader.IntOr("head_dim", config.num_heads > 0 ? config.hidden_size / config.num_heads : 0);
  config.max_positions = reader.Int("max_position_embeddings");
  config.rope_theta = reader.RopeTheta();
  config.rms_norm_eps = reader.Number("rms_norm_eps");
  config.tie_word_embeddings = reader.BoolOr("tie_word_embeddings", false);
  config.attention_bias = true;
  config.eos_token_ids = reader.IntList("eos_token_id");
  config.pad_token_id = reader.IntOr("pad_token_id", config.eos_token_ids.empty() ? 0 : config.eos_token_ids.front());
  reader.MustBe("hidden_act", "silu");
  reader.MustBe("use_sliding_window", false);
  reader.MustBe("attention_dropout", 0.0);
  reader.EachMustBe("layer_types", "full_attention");
  reader.MustBe("quantization_config", nullptr);
}

nlohmann::json Write(const ModelConfig& config) {
  return {{"architectures", {"Qwen2ForCausalLM"}},
          {"model_type", "qwen2"},
          {"vocab_size", config.vocab_size},
          {"hidden_size", config.hidden_size},
          {"intermediate_size", config.intermediate_size},
          {"num_hidden_layers", config.num_layers},
          {"num_attention_heads", config.num_heads},
          {"num_key_value_heads", config.num_kv_heads},
          {"head_dim", config.head_dim},
          {"hidden_act", "silu"},
          {"max_position_embeddings", config.max_positions},
          {"rope_theta", config.rope_theta},
          {"rms_norm_eps", config.rms_norm_eps},
          {"use_sliding_window", false},
          {"attention_dropout", 0.0},
          {"tie_word_embeddings", config.tie_word_embeddings},
          {"eos_token_id", config.eos_token_ids.size() == 1 ? nlohmann::json(config.eos_token_ids.front())
                                                            : nlohmann::json(config.eos_token_ids)},
          {"pad_token_id", config.pad_token_id},
          {"torch_dtype", "float32"}};
}

}  // namespace

extern const ModelFamily kModelFamily_qwen2;
const ModelFamily kModelFamily_qwen2 = {"qwen2", &Read, &Write};

}  // namespace grpo
