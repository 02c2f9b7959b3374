// Llama 2 and 3.x (arXiv:2307.09288, arXiv:2407.21783), SmolLM2 too: RMSNorm, rotary embedding, grouped-query
// attention, SwiGLU, no biases.
#include "model/family.h"

namespace grpo {
namespace {

constexpr char kArchitecture[] = "LlamaForCausalLM";

void Read(ConfigReader& reader, ModelConfig& config) {
  ReadDecoder(reader, kArchitecture, config);
  config.attention_bias = false;
  reader.MustBe("attention_bias", false);
  reader.MustBe("mlp_bias", false);
  // More than 1 asks for sums in another order, as the original weights were computed.
  reader.MustBe("pretraining_tp", 1);
  reader.MustBe("rope_interleaved", false);
  reader.Ignore({"is_llama_config"});
}

nlohmann::json Write(const ModelConfig& config) {
  nlohmann::json object = WriteDecoder(config, kArchitecture);
  object["attention_bias"] = false;
  object["mlp_bias"] = false;
  return object;
}

}  // namespace

extern const ModelFamily kModelFamily_llama;
const ModelFamily kModelFamily_llama = {"llama", &Read, &Write};

}  // namespace grpo
