#include <ATen/DeviceAccelerator.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>

#include <algorithm>
#include <string>
#include <torch/csrc/distributed/c10d/HashStore.hpp>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/status_macros.h"
#include "model/device.h"
#include "model/tensor.h"
#include "tests/device/check_gpu.h"
#include "trainer/dist/backend.h"
#include "trainer/dist/collectives.h"
#include "trainer/dist/rank_testing.h"

namespace grpo {
namespace {

using Json = nlohmann::ordered_json;

// Elements of what is summed, as many as a large policy's gradients have in a few buckets; and the ranks at most.
constexpr int64_t kElements = int64_t{64} << 20;
constexpr int kMaxRanks = 8;
constexpr int kTries = 5;

bool AllEqual(const at::Tensor& tensor, double value) {
  return HostCopy(tensor.eq(value).all()).Wait().item<bool>();
}

// The backend of the ranks' gradients with one rank, where Collectives would leave it out.
absl::StatusOr<Json> OneRank(c10::Device device) {
  const GradientBackend gradients = MakeGradientBackend(c10::make_intrusive<c10d::HashStore>(), RankEnvironment(),
                                                        device, /*gloo=*/nullptr, absl::Minutes(1));
  if (gradients.backend == nullptr) {
    return absl::UnimplementedError(absl::StrCat("this build has no backend of its own for ", DeviceName(device)));
  }
  std::vector<at::Tensor> one = {at::full({kElements}, 3.0, at::TensorOptions(device).dtype(at::kFloat))};
  gradients.backend->allreduce(one)->wait();
  gradients.backend->broadcast(one)->wait();
  return Json{{"ranks", 1}, {"backend", gradients.backend->getBackendName()}, {"right", AllEqual(one[0], 3)}};
}

// One rank's part: whether sum and broadcast came out, and the seconds of the fastest sum.
std::pair<bool, double> SumAndBroadcast(Collectives& collectives, c10::Device device) {
  const int ranks = collectives.world_size();
  bool right = true;
  double best = 1e9;
  const Clock& clock = Clock::Real();
  for (int i = 0; i <= kTries; ++i) {
    const at::Tensor mine =
        at::full({kElements}, collectives.rank() + 1.0, at::TensorOptions(device).dtype(at::kFloat));
    at::accelerator::synchronizeDevice(device.index());
    const absl::Duration begin = clock.Now();
    right = collectives.AllReduceSum({mine}).ok() && right;
    at::accelerator::synchronizeDevice(device.index());
    // The first one connects.
    if (i > 0) best = std::min(best, absl::ToDoubleSeconds(clock.Now() - begin));
    right = AllEqual(mine, ranks * (ranks + 1) / 2.0) && right;
    mine.fill_(collectives.rank() + 1.0);
    right = collectives.Broadcast(std::vector<at::Tensor>{mine}).ok() && AllEqual(mine, 1) && right;
  }
  return {right, best};
}

// Each rank a thread with a device of its own; or all on `device`, through the host.
Json SeveralRanks(c10::Device device, int ranks, bool through_host) {
  const auto device_of = [&](int rank) {
    return through_host ? device : c10::Device(device.type(), static_cast<c10::DeviceIndex>(rank));
  };
  std::vector<std::pair<bool, double>> outcomes(static_cast<size_t>(ranks));
  RunRanks(
      ranks,
      [&](Collectives& collectives) {
        outcomes[collectives.rank()] = SumAndBroadcast(collectives, device_of(collectives.rank()));
      },
      {.through_host = through_host}, device_of);
  bool right = true;
  double seconds = 0;
  for (const auto& [of_rank, its_seconds] : outcomes) {
    right = right && of_rank;
    seconds = std::max(seconds, its_seconds);
  }
  // What a ring moves over each link (NCCL's "bus bandwidth"): 2 (n - 1) / n of the tensor.
  const double bytes = 2.0 * (ranks - 1) / ranks * static_cast<double>(kElements) * sizeof(float);
  return {{"ranks", ranks},
          {"backend", through_host ? "gloo, one device" : "own"},
          {"right", right},
          {"sum_seconds", seconds},
          {"bus_gb_per_s", bytes / seconds / 1e9}};
}

}  // namespace

absl::StatusOr<Json> CompareRanks(c10::Device device) {
  return TorchGuard([&]() -> absl::StatusOr<Json> {
    Json cases = Json::array();
    ASSIGN_OR_RETURN(cases.emplace_back(), OneRank(device));
    cases.push_back(SeveralRanks(device, 2, /*through_host=*/true));
    const int devices = std::min<int>(kMaxRanks, at::accelerator::deviceCount());
    if (devices > 1) cases.push_back(SeveralRanks(device, devices, /*through_host=*/false));
    return Json{{"devices", devices}, {"cases", std::move(cases)}};
  });
}

}  // namespace grpo
