// Layers of a deep decoder, spread evenly: those that a shallower one is made of, or is held against. Links no torch.
#ifndef GRPO_MODEL_EVEN_LAYERS_H_
#define GRPO_MODEL_EVEN_LAYERS_H_

#include <cstdint>
#include <vector>

namespace grpo {

// `keep` of `num_layers` layers, numbered from 1 and rising. The k-th of them is 1 + (k - 1) (num_layers - 1) / (keep -
// 1), rounded to the nearest, halves up: the first and the last are among them, and no layer is twice. A single one is
// the first. REQUIRES: 1 <= keep <= num_layers. Pure.
std::vector<int64_t> EvenLayers(int64_t num_layers, int64_t keep);

}  // namespace grpo

#endif  // GRPO_MODEL_EVEN_LAYERS_H_
