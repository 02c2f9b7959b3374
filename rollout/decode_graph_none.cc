// Graphs of decode steps where there is no CUDA: none.
#include "rollout/decode_graph.h"

namespace grpo {

std::unique_ptr<DecodeGraph> MakeDecodeGraph(c10::Device device) {
  return std::make_unique<PlainDecodeGraph>();
}

}  // namespace grpo
