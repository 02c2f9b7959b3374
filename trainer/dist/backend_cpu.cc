// In a build without CUDA Gloo sums the gradients too.
#include "trainer/dist/backend.h"

namespace grpo {

GradientBackend MakeGradientBackend(const c10::intrusive_ptr<c10d::Store>&, const RankEnvironment&, c10::Device,
                                    const c10::intrusive_ptr<c10d::Backend>& gloo, absl::Duration) {
  return {.backend = gloo, .device = c10::kCPU};
}

}  // namespace grpo
