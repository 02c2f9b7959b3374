// In a build with --config=cuda NCCL sums the gradients, on the GPU of this rank. tools/check_cuda_build compiles and
// links it; no GPU was to be had to run it.
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include "trainer/dist/backend.h"

namespace grpo {

GradientBackend MakeGradientBackend(const c10::intrusive_ptr<c10d::Store>& store, const RankEnvironment& environment,
                                    const c10::intrusive_ptr<c10d::Backend>&, absl::Duration timeout) {
  const auto options = c10d::ProcessGroupNCCL::Options::create();
  options->timeout = std::chrono::milliseconds(absl::ToInt64Milliseconds(timeout));
  return {.backend = c10::make_intrusive<c10d::ProcessGroupNCCL>(c10::make_intrusive<c10d::PrefixStore>("nccl", store),
                                                                 environment.rank, environment.world_size, options),
          .device = c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(environment.local_rank))};
}

}  // namespace grpo
