// The device that a process computes on, and the ways to it and back. Device-generic, without a CUDA header: what is an
// accelerator is c10's to say (CUDA in a build for it; a fake one in tests/device). Elsewhere a tensor's device() is
// all that anybody looks at.
#ifndef GRPO_MODEL_DEVICE_H_
#define GRPO_MODEL_DEVICE_H_

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace grpo {

// "auto": accelerator number `local_rank` where this build has an accelerator and the machine one of that number, else
// the CPU. "cpu". "cuda": GPU number local_rank; FailedPrecondition when this build or this machine has none. The name
// of an accelerator that a test registered ("fake"): likewise, but that its numbers begin anew after its last device,
// since each process has those of its own. InvalidArgument for other names. local_rank counts the devices that this
// process sees (CUDA_VISIBLE_DEVICES); LocalRank is it. Any thread.
absl::StatusOr<c10::Device> ResolveDevice(absl::string_view name, int local_rank);

// LOCAL_RANK of the environment: which of the devices that this process sees is its own. 0 where it is not set or empty;
// InvalidArgument for what is no number. Any thread that nobody changes the environment beside.
absl::StatusOr<int> LocalRank();

// Devices of this type that this process sees, at least 1 of the CPU's; 0 where this build has none. Any thread.
int64_t NumDevices(c10::DeviceType type);

// Before the first computation on `device`, once a process: makes it the current one, and with `deterministic` has
// ATen take its deterministic kernels, whose results are the same bits each time (law 7); an operation that has none
// throws. Nothing on the CPU. FailedPrecondition when CUDA started before, unless the environment had
// CUBLAS_WORKSPACE_CONFIG from the start: cuBLAS reads that at its own. The process's main thread, before others are
// there: it writes to the environment.
absl::Status UseDevice(c10::Device device, bool deterministic);

// A CPU tensor's numbers on `device`: through pinned memory, without waiting. The tensor itself on the CPU.
at::Tensor ToDevice(const at::Tensor& host, c10::Device device);
// The same from ids, lengths, positions: [n] int64.
at::Tensor ToDevice(absl::Span<const int64_t> values, c10::Device device);

// The only way back from a device: the copy begins at once and goes on beside what is computed next. One thread.
class HostCopy {
 public:
  explicit HostCopy(const at::Tensor& tensor);
  // The numbers, on the CPU; waits for the copy the first time. Of a CPU tensor the tensor itself.
  const at::Tensor& Wait();

 private:
  at::Tensor host_;
  // Nothing to wait for: empty.
  std::optional<c10::Event> copied_;
};

// Of one device and this process, bytes; all zero on the CPU. Any thread.
struct DeviceMemory {
  // In tensors now, and at most since the process's start.
  int64_t allocated_bytes = 0, peak_bytes = 0;
  // Taken from the device by the allocator.
  int64_t reserved_bytes = 0;
  // Of the device, all processes.
  int64_t free_bytes = 0, total_bytes = 0;
};
DeviceMemory MemoryOf(c10::Device device);

// What it is called in the configuration, in a run's identity and in records: "cpu", "cuda", "fake"; without a number.
std::string DeviceName(c10::Device device);
// What it is: "NVIDIA H200", or DeviceName where nothing more is known.
std::string DeviceModel(c10::Device device);
// Both, for people: "cpu", "cuda (NVIDIA H200)", "fake".
std::string DeviceText(c10::Device device);

}  // namespace grpo

#endif  // GRPO_MODEL_DEVICE_H_
