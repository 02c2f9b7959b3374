#include "model/even_layers.h"

namespace grpo {

std::vector<int64_t> EvenLayers(int64_t num_layers, int64_t keep) {
  if (keep == 1) return {1};
  std::vector<int64_t> layers;
  const int64_t intervals = keep - 1;
  // Integers throughout: a half is a half on every machine.
  for (int64_t k = 0; k < keep; ++k) layers.push_back(1 + (2 * k * (num_layers - 1) + intervals) / (2 * intervals));
  return layers;
}

}  // namespace grpo
