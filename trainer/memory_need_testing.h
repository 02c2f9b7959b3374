// The model whose memory tests count. Links no torch.
#ifndef GRPO_TRAINER_MEMORY_NEED_TESTING_H_
#define GRPO_TRAINER_MEMORY_NEED_TESTING_H_

#include "model/config.h"

namespace grpo {

inline ModelConfig SmallModel() {
  ModelConfig model;
  model.vocab_size = 58;
  model.hidden_size = 64;
  model.intermediate_size = 192;
  model.num_layers = 3;
  model.num_heads = 4;
  model.num_kv_heads = 2;
  model.head_dim = 16;
  model.max_positions = 512;
  return model;
}

// 3 layers of q (64 x 64), k and v (32 x 64 each), o (64 x 64), gate, up and down (192 x 64 each).
inline constexpr double kMatrices = 3.0 * 64 * (64 + 32 + 32 + 64 + 3 * 192), kHead = 58 * 64;

}  // namespace grpo

#endif  // GRPO_TRAINER_MEMORY_NEED_TESTING_H_
