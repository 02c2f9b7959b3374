#include <ATen/Context.h>
#include <ATen/DeviceAccelerator.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <torch/version.h>

#include <algorithm>
#include <limits>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "model/device.h"
#include "model/tensor.h"
#include "tests/device/check_gpu.h"

namespace grpo {
namespace {

constexpr int kWarmUps = 3, kTries = 5;

// Seconds of one call among `calls` in a row, for which the host waits once; the best of some tries.
double SecondsOf(c10::Device device, int calls, absl::FunctionRef<void()> body) {
  const Clock& clock = Clock::Real();
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < kWarmUps; ++i) body();
  for (int i = 0; i < kTries; ++i) {
    at::accelerator::synchronizeDevice(device.index());
    const absl::Duration begin = clock.Now();
    for (int call = 0; call < calls; ++call) body();
    at::accelerator::synchronizeDevice(device.index());
    best = std::min(best, absl::ToDoubleSeconds(clock.Now() - begin) / calls);
  }
  return best;
}

// 10^12 floating-point operations a second of products of square matrices. `precision`: of float32's operands, "highest" or
// "high" (TF32).
double Tflops(c10::Device device, int64_t size, at::ScalarType dtype, const std::string& precision) {
  at::globalContext().setFloat32MatmulPrecision(precision);
  const at::Tensor a = at::randn({size, size}, at::TensorOptions(device)).to(dtype);
  const at::Tensor b = at::randn({size, size}, at::TensorOptions(device)).to(dtype);
  at::Tensor out = at::empty({size, size}, a.options());
  const double n = static_cast<double>(size);
  const double seconds = SecondsOf(device, /*calls=*/5, [&] { at::mm_out(out, a, b); });
  at::globalContext().setFloat32MatmulPrecision("highest");
  return 2 * n * n * n / seconds / 1e12;
}

// 10^9 bytes a second: within the device, bytes read plus bytes written; and to it and from it, through pinned memory.
void MeasureCopies(c10::Device device, int64_t num_bytes, nlohmann::ordered_json& report) {
  const double bytes = static_cast<double>(num_bytes);
  const auto on_device = at::TensorOptions(device).dtype(at::kByte);
  const at::Tensor from = at::ones({num_bytes}, on_device), to = at::empty({num_bytes}, on_device);
  report["copy_gb_per_s"] = 2 * bytes / SecondsOf(device, 5, [&] { to.copy_(from); }) / 1e9;
  const at::Tensor host = at::empty({num_bytes}, at::TensorOptions(at::kByte).pinned_memory(true));
  report["to_device_gb_per_s"] = bytes / SecondsOf(device, 1, [&] { to.copy_(host, /*non_blocking=*/true); }) / 1e9;
  report["to_host_gb_per_s"] = bytes / SecondsOf(device, 1, [&] { host.copy_(to, /*non_blocking=*/true); }) / 1e9;
}

}  // namespace

absl::StatusOr<nlohmann::ordered_json> MeasureDeviceLimits(c10::Device device, int64_t size) {
  return TorchGuard([&]() -> absl::StatusOr<nlohmann::ordered_json> {
    const at::NoGradGuard no_grad;
    const DeviceMemory memory = MemoryOf(device);
    nlohmann::ordered_json report = {{"device", DeviceName(device)},
                                     {"model", DeviceModel(device)},
                                     {"devices", static_cast<int>(at::accelerator::deviceCount())},
                                     {"torch", TORCH_VERSION},
                                     {"total_bytes", memory.total_bytes},
                                     {"free_bytes", memory.free_bytes}};
    report["bfloat16_tflops"] = Tflops(device, size, at::kBFloat16, "highest");
    report["tf32_tflops"] = Tflops(device, size, at::kFloat, "high");
    report["float32_tflops"] = Tflops(device, size, at::kFloat, "highest");
    MeasureCopies(device, size * size * 16, report);
    // A step of a small model is nothing else.
    const at::Tensor one = at::ones({1}, at::TensorOptions(device));
    report["launch_us"] = 1e6 * SecondsOf(device, /*calls=*/1000, [&] { one.add_(1); });
    return report;
  });
}

}  // namespace grpo
