#include "model/device.h"

#include <ATen/Context.h>
#include <ATen/DeviceAccelerator.h>
#include <ATen/ops/empty.h>
#include <c10/core/DeviceType.h>

#include <cstdlib>
#include <cstring>
#include <exception>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "model/accelerator_model.h"
#include "model/tensor.h"

namespace grpo {
namespace {

// What cuBLAS needs for the same bits each time: a workspace of a fixed size for each stream. Of the two values that it
// takes as such, the one that costs 24 MiB and no speed.
constexpr char kWorkspaceVariable[] = "CUBLAS_WORKSPACE_CONFIG", kWorkspace[] = ":4096:8", kSmallWorkspace[] = ":16:8";

// The one kind of accelerator that this build has, or a test registered.
std::optional<c10::DeviceType> Accelerator() {
  return at::accelerator::getAccelerator(/*checked=*/false);
}

std::string NameOf(c10::DeviceType type) {
  return c10::DeviceTypeName(type, /*lower_case=*/true);
}

c10::Device Numbered(c10::DeviceType type, int64_t index) {
  return {type, static_cast<c10::DeviceIndex>(index)};
}

// Why there is no accelerator of this name and number.
absl::Status Missing(absl::string_view name, int64_t count, int local_rank) {
  const std::string what = absl::StrCat("device ", name, ": ");
  const std::optional<c10::DeviceType> built = Accelerator();
  if (!built.has_value() || NameOf(*built) != name) {
    return absl::FailedPreconditionError(
        absl::StrCat(what, "this build computes on ", built.has_value() ? NameOf(*built) : std::string("the CPU"),
                     " alone; build with --config=cuda and LibTorch for CUDA, or take device cpu or auto"));
  }
  if (count == 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(what,
                     "this process sees none; `grpoctl doctor` says what is amiss with driver and GPUs, and "
                     "CUDA_VISIBLE_DEVICES may hide them"));
  }
  return absl::FailedPreconditionError(
      absl::StrCat(what, "there is no number ", local_rank, " for local rank ", local_rank, ", this process sees ",
                   count, ": one process takes one, so start no more than there are on the machine"));
}

// That of a local rank among `count` of them; nothing when there are too few.
std::optional<c10::Device> DeviceOf(c10::DeviceType type, int64_t count, int local_rank) {
  // Each process has the devices that a test registered to itself.
  const int64_t index = type == c10::kPrivateUse1 ? local_rank % count : local_rank;
  if (index < 0 || index >= count) return std::nullopt;
  return Numbered(type, index);
}

// What cuBLAS will read when it starts.
absl::Status FixWorkspace(bool started) {
  const char* const given = std::getenv(kWorkspaceVariable);
  if (given != nullptr && (std::strcmp(given, kWorkspace) == 0 || std::strcmp(given, kSmallWorkspace) == 0))
    return absl::OkStatus();
  if (given != nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(kWorkspaceVariable, " is ", given,
                                                      ", with which cuBLAS gives other bits each time: unset it, "
                                                      "or set deterministic to false"));
  }
  if (started) {
    return absl::FailedPreconditionError(
        absl::StrCat("CUDA has started, and ", kWorkspaceVariable, " was not set to ", kWorkspace,
                     " before: a device is made ready before anything is computed on it"));
  }
  ::setenv(kWorkspaceVariable, kWorkspace, /*replace=*/0);
  return absl::OkStatus();
}

// Uninitialised, [sizes], in memory that a device reads and writes by itself.
at::Tensor Pinned(at::IntArrayRef sizes, at::ScalarType dtype) {
  return at::empty(sizes, at::TensorOptions(dtype).pinned_memory(true));
}

// `pinned` may be let go at once: its memory is not given out again before the copy is made.
at::Tensor Send(const at::Tensor& pinned, c10::Device device) {
  at::Tensor sent = at::empty(pinned.sizes(), at::TensorOptions(pinned.scalar_type()).device(device));
  sent.copy_(pinned, /*non_blocking=*/true);
  return sent;
}

}  // namespace

int64_t NumDevices(c10::DeviceType type) {
  if (type == c10::kCPU) return 1;
  return Accelerator() == type ? at::accelerator::deviceCount() : 0;
}

absl::StatusOr<int> LocalRank() {
  const char* const text = std::getenv("LOCAL_RANK");
  if (text == nullptr || *text == '\0') return 0;
  int rank = 0;
  if (absl::SimpleAtoi(text, &rank) && rank >= 0) return rank;
  return absl::InvalidArgumentError(absl::StrCat("the environment variable LOCAL_RANK is '", text,
                                                 "', it must be the number of a device, from 0, or not be set"));
}

absl::StatusOr<c10::Device> ResolveDevice(absl::string_view name, int local_rank) {
  if (name == "cpu") return c10::Device(c10::kCPU);
  const std::optional<c10::DeviceType> built = Accelerator();
  const int64_t count = built.has_value() ? NumDevices(*built) : 0;
  const std::optional<c10::Device> there = count > 0 ? DeviceOf(*built, count, local_rank) : std::nullopt;
  if (name == "auto") return there.value_or(c10::Device(c10::kCPU));
  const bool is_built = built.has_value() && NameOf(*built) == name;
  if (is_built && there.has_value()) return *there;
  if (is_built || name == "cuda") return Missing(name, count, local_rank);
  return absl::InvalidArgumentError(absl::StrCat("device ", name, ": there are auto, cpu and cuda"));
}

absl::Status UseDevice(c10::Device device, bool deterministic) {
  if (device.is_cpu()) return absl::OkStatus();
  return TorchGuard([&] {
    at::Context& context = at::globalContext();
    if (deterministic) {
      if (device.is_cuda()) {
        const bool started = context.getAcceleratorHooksInterface(device.type()).hasPrimaryContext(device.index());
        const absl::Status fixed = FixWorkspace(started);
        if (!fixed.ok()) return fixed;
      }
      context.setDeterministicAlgorithms(true, /*warn_only=*/false);
      context.setDeterministicCuDNN(true);
      // All that is computed is written before it is read; filling it first would only take time.
      context.setDeterministicFillUninitializedMemory(false);
    }
    at::accelerator::setDeviceIndex(device.index());
    return absl::OkStatus();
  });
}

at::Tensor ToDevice(const at::Tensor& host, c10::Device device) {
  if (device.is_cpu()) return host;
  const at::Tensor pinned = Pinned(host.sizes(), host.scalar_type());
  pinned.copy_(host.detach());
  return Send(pinned, device);
}

at::Tensor ToDevice(absl::Span<const int64_t> values, c10::Device device) {
  const auto size = static_cast<int64_t>(values.size());
  const at::Tensor host = device.is_cpu() ? at::empty({size}, at::kLong) : Pinned({size}, at::kLong);
  if (size > 0) std::memcpy(host.mutable_data_ptr<int64_t>(), values.data(), values.size() * sizeof(int64_t));
  return device.is_cpu() ? host : Send(host, device);
}

HostCopy::HostCopy(const at::Tensor& tensor) {
  if (tensor.is_cpu()) {
    host_ = tensor;
    return;
  }
  host_ = Pinned(tensor.sizes(), tensor.scalar_type());
  host_.copy_(tensor.detach().contiguous(), /*non_blocking=*/true);
  copied_.emplace(tensor.device().type());
  copied_->record(at::accelerator::getCurrentStream(tensor.device().index()));
}

const at::Tensor& HostCopy::Wait() {
  if (copied_.has_value()) copied_->synchronize();
  copied_.reset();
  return host_;
}

DeviceMemory MemoryOf(c10::Device device) {
  DeviceMemory memory;
  if (device.is_cpu()) return memory;
  const auto aggregate = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  // What an allocator does not tell stays zero: before the first tensor, or of a test's device.
  try {
    const auto stats = at::accelerator::getDeviceStats(device.index());
    memory.allocated_bytes = stats.allocated_bytes[aggregate].current;
    memory.peak_bytes = stats.allocated_bytes[aggregate].peak;
    memory.reserved_bytes = stats.reserved_bytes[aggregate].current;
  } catch (const std::exception&) {
  }
  try {
    const auto [free, total] = at::accelerator::getMemoryInfo(device.index());
    memory.free_bytes = static_cast<int64_t>(free);
    memory.total_bytes = static_cast<int64_t>(total);
  } catch (const std::exception&) {
  }
  return memory;
}

std::string DeviceName(c10::Device device) {
  return NameOf(device.type());
}

std::string DeviceModel(c10::Device device) {
  const absl::StatusOr<std::string> model =
      TorchGuard([&]() -> absl::StatusOr<std::string> { return AcceleratorModel(device); });
  return model.ok() && !model->empty() ? *model : DeviceName(device);
}

std::string DeviceText(c10::Device device) {
  const std::string name = DeviceName(device), model = DeviceModel(device);
  return model == name ? name : absl::StrCat(name, " (", model, ")");
}

}  // namespace grpo
