// The c10d backends of a rank: one constructor each, which is all that distinguishes devices here.
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

// Gloo between CPUs; carries what is small, and gradients of what has no backend of its own. Listens on loopback, or on
// `private_interface`. Throws what c10d throws. `timeout` is of one collective. Returns when all ranks are connected.
c10::intrusive_ptr<c10d::Backend> MakeGloo(const c10::intrusive_ptr<c10d::Store>& store,
                                           const RankEnvironment& environment, const std::string& private_interface,
                                           absl::Duration timeout);

// What sums gradients, and the device that it wants them on. As made, Gloo's.
struct GradientBackend {
  c10::intrusive_ptr<c10d::Backend> backend;
  c10::Device device = c10::kCPU;
};

// For tensors on `device`, which is not the CPU: NCCL where that is a GPU, in a build with --config=cuda
// (backend_nccl.cc); for other devices, and in other builds (backend_cpu.cc), `gloo` itself. Throws what c10d throws,
// NCCL's refusal of a GPU that another rank has among it. Returns when all ranks are connected.
GradientBackend MakeGradientBackend(const c10::intrusive_ptr<c10d::Store>& store, const RankEnvironment& environment,
                                    c10::Device device, const c10::intrusive_ptr<c10d::Backend>& gloo,
                                    absl::Duration timeout);

}  // namespace grpo

#endif  // GRPO_TRAINER_DIST_BACKEND_H_
