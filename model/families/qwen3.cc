// Qwen3 (arXiv:2505.09388): as Qwen2, without the biases; each head of q and k is normalised before it is rotated, and
// head_dim stands by itself.
#include "model/family.h"

namespace grpo {
namespace {

constexpr char kArchitecture[] = "Qwen3ForCausalLM";

void Read(ConfigReader& reader, ModelConfig& config) {
  ReadDecoder(reader, kArchitecture, config);
  config.attention_bias = false;
  config.qk_norm = true;
  // transformers' default, which is not hidden_size / num_attention_heads.
  config.head_dim = reader.IntOr("head_dim", 128);
  reader.MustBe("attention_bias", false);
  reader.MustBe("use_sliding_window", false);
  // Of the sliding window alone.
  reader.Ignore({"sliding_window", "max_window_layers"});
}

nlohmann::json Write(const ModelConfig& config) {
  nlohmann::json object = WriteDecoder(config, kArchitecture);
  object["attention_bias"] = false;
  object["use_sliding_window"] = false;
  return object;
}

}  // namespace

extern const ModelFamily kModelFamily_qwen3;
const ModelFamily kModelFamily_qwen3 = {"qwen3", &Read, &Write};

}  // namespace grpo
