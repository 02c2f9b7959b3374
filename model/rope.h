// The angles of the rotary position embedding (arXiv:2104.09864), as transformers computes them.
#ifndef GRPO_MODEL_ROPE_H_
#define GRPO_MODEL_ROPE_H_

#include <ATen/core/Tensor.h>

#include "model/config.h"

namespace grpo {

// Cosines, then sines, of position times frequency: [max_positions, 2, K / 2]. float32 on the CPU, computed in float32
// as transformers does, since all must keep the same digits of a far position's angle. Of a configuration that passes
// Validate.
at::Tensor RopeTable(const ModelConfig& config);

}  // namespace grpo

#endif  // GRPO_MODEL_ROPE_H_
