// A model for tests of weights.
#ifndef GRPO_MODEL_WEIGHTS_TESTING_H_
#define GRPO_MODEL_WEIGHTS_TESTING_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "common/status_testing.h"
#include "model/transformer.h"

namespace grpo {

// Fits configs/tokenizers/chickens_rabbits.json.
inline ModelConfig SmallConfig() {
  ModelConfig config;
  config.vocab_size = 58;
  config.hidden_size = 24;
  config.intermediate_size = 40;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 6;
  config.max_positions = 32;
  config.eos_token_ids = {1};
  return config;
}

// A model of this configuration with InitializeRandom's weights, in float32. A configuration that does not pass
// Validate is a failure of the test.
inline std::unique_ptr<Transformer> MakeRandom(const ModelConfig& config, uint64_t seed) {
  auto model = Transformer::Create(config);
  EXPECT_OK(model);
  (*model)->InitializeRandom(seed);
  return *std::move(model);
}

}  // namespace grpo

#endif  // GRPO_MODEL_WEIGHTS_TESTING_H_
