// In a build with --config=cuda NCCL sums what lies on GPUs. tools/check_cuda_build compiles and links it.
//
// A rank that dies amid a sum leaves the others' devices waiting, and their hosts as soon as they ask for a number:
// whoever watches over the ranks (grpoctl run, torchrun) ends all of them. Where nobody does, NCCL's own watchdog ends
// the process after `timeout`.
#include <ATen/ops/zeros.h>

#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#include <vector>

#include "trainer/dist/backend.h"

namespace grpo {

GradientBackend MakeGradientBackend(const c10::intrusive_ptr<c10d::Store>& store, const RankEnvironment& environment,
                                    c10::Device device, const c10::intrusive_ptr<c10d::Backend>& gloo,
                                    absl::Duration timeout) {
  if (!device.is_cuda()) return {.backend = gloo};
  const auto options = c10d::ProcessGroupNCCL::Options::create();
  options->timeout = std::chrono::milliseconds(absl::ToInt64Milliseconds(timeout));
  GradientBackend gradients = {
      .backend = c10::make_intrusive<c10d::ProcessGroupNCCL>(c10::make_intrusive<c10d::PrefixStore>("nccl", store),
                                                             environment.rank, environment.world_size, options),
      .device = device};
  // It connects at the first sum: here, where what stands against it can still be said.
  std::vector<at::Tensor> nothing = {at::zeros({1}, at::TensorOptions(device))};
  gradients.backend->allreduce(nothing)->wait();
  return gradients;
}

}  // namespace grpo
