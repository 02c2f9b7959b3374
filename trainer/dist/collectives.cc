#include "trainer/dist/collectives.h"

#include <ATen/ops/cat.h>

#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/HashStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <utility>

#include "model/tensor.h"

namespace grpo {

absl::StatusOr<std::unique_ptr<Collectives>> Collectives::SingleRank(absl::Duration timeout) {
  return TorchGuard([&]() -> absl::StatusOr<std::unique_ptr<Collectives>> {
    auto options =
        c10d::ProcessGroupGloo::Options::create(std::chrono::milliseconds(absl::ToInt64Milliseconds(timeout)));
    options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1"));
    options->threads = 1;
    auto backend = c10::make_intrusive<c10d::ProcessGroupGloo>(c10::make_intrusive<c10d::HashStore>(), /*rank=*/0,
                                                               /*size=*/1, options);
    return std::unique_ptr<Collectives>(new Collectives(std::move(backend)));
  });
}

Collectives::Collectives(c10::intrusive_ptr<c10d::Backend> backend) : backend_(std::move(backend)) {}

Collectives::~Collectives() = default;

absl::Status Collectives::AllReduceSum(std::vector<at::Tensor>& tensors) {
  return TorchGuard([&]() -> absl::Status {
    if (world_size() == 1) return absl::OkStatus();
    std::vector<at::Tensor> views;
    for (const at::Tensor& tensor : tensors) views.push_back(tensor.reshape({-1}));
    // One message for all: latency, not bandwidth, bounds small tensors.
    std::vector<at::Tensor> flat = {at::cat(views)};
    backend_->allreduce(flat)->wait();
    int64_t offset = 0;
    for (at::Tensor& tensor : tensors) {
      tensor.copy_(flat[0].narrow(0, offset, tensor.numel()).view(tensor.sizes()));
      offset += tensor.numel();
    }
    return absl::OkStatus();
  });
}

int Collectives::rank() const {
  return backend_->getRank();
}

int Collectives::world_size() const {
  return backend_->getSize();
}

}  // namespace grpo
