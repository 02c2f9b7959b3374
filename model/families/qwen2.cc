// Qwen2 and Qwen2.5 (arXiv:2407.10671, arXiv:2412.15115): RMSNorm, rotary embedding, grouped-query attention with
// biases on q, k and v, SwiGLU.
#include "model/family.h"

namespace grpo {
namespace {

constexpr char kArchitecture[] = "Qwen2ForCausalLM";

void Read(ConfigReader& reader, ModelConfig& config) {
  ReadDecoder(reader, kArchitecture, config);
  config.attention_bias = true;
  reader.MustBe("use_sliding_window", false);
  reader.MustBe("use_mrope", false);
  // Of the sliding window alone.
  reader.Ignore({"sliding_window", "max_window_layers"});
}

nlohmann::json Write(const ModelConfig& config) {
  nlohmann::json object = WriteDecoder(config, kArchitecture);
  object["use_sliding_window"] = false;
  return object;
}

}  // namespace

extern const ModelFamily kModelFamily_qwen2;
const ModelFamily kModelFamily_qwen2 = {"qwen2", &Read, &Write};

}  // namespace grpo
