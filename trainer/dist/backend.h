// The c10d backends of a rank: one constructor each, which is all that distinguishes CPUs from GPUs here.
#ifndef GRPO_TRAINER_DIST_BACKEND_H_
#define GRPO_TRAINER_DIST_BACKEND_H_

#include <c10/core/Device.h>
#include <c10/util/intrusive_ptr.h>

#include <string>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "absl/time/time.h"
#include "trainer/dist/rank_environment.h"

namespace grpo {

// Gloo between CPUs; carries what is small, and gradients where there are no GPUs. Listens on loopback, or on
// `private_interface`. Throws what c10d throws. `timeout` is of one collective. Returns when all ranks are connected.
c10::intrusive_ptr<c10d::Backend> MakeGloo(const c10::intrusive_ptr<c10d::Store>& store,
                                           const RankEnvironment& environment, const std::string& private_interface,
                                           absl::Duration timeout);

// What sums gradients, and the device that it wants them on.
struct GradientBackend {
  c10::intrusive_ptr<c10d::Backend> backend;
  c10::Device device = c10::kCPU;
};

// `gloo` itself in a build for CPUs (backend_cpu.cc); NCCL on GPU number local_rank in a build with --config=cuda
// (backend_nccl.cc). Throws what c10d throws.
GradientBackend MakeGradientBackend(const c10::intrusive_ptr<c10d::Store>& store, const RankEnvironment& environment,
                                    const c10::intrusive_ptr<c10d::Backend>& gloo, absl::Duration timeout);

}  // namespace grpo

#endif  // GRPO_TRAINER_DIST_BACKEND_H_
