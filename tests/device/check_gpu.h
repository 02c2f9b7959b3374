// What tools/check_gpu measures and compares beside the suites of this folder, one JSON object each. All compute on the
// accelerator and return Internal for what torch throws.
#ifndef GRPO_TESTS_DEVICE_CHECK_GPU_H_
#define GRPO_TESTS_DEVICE_CHECK_GPU_H_

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace grpo {

// What the device is ("model", "devices", "total_bytes", ...) and what it does at most: "bfloat16_tflops",
// "tf32_tflops" and "float32_tflops" of products of `size` rows, "copy_gb_per_s" within it (bytes read plus bytes
// written), "to_device_gb_per_s" and "to_host_gb_per_s" through pinned memory, of size x size x 16 bytes each, and
// "launch_us", what the host takes to have one small operation done.
absl::StatusOr<nlohmann::ordered_json> MeasureDeviceLimits(c10::Device device, int64_t size);

// Samples with the engine and a small random model that computes in `compute` (kFloat, kBFloat16):
//   forward                               |sample_logprob - the full forward pass's|: {"tokens", "diff_max", "diff_mean"} (law 3)
//   neighbours, order, swapped            how many of a group's tokens, "neighbours" with other groups beside it, "order"
//                                         in other slots, "swapped" in an engine that held other weights before: {"tokens",
//                                         "other_ids", "other_bits", "diff_max"}; no other means equal bits (law 5)
//   left_bytes                            of the device, still allocated after the engine has ended
absl::StatusOr<nlohmann::ordered_json> CompareDecoding(c10::Device device, at::ScalarType compute);

// Sums and broadcasts of 64 Mi float32 in "cases": one rank over the device's own backend (NCCL); two that share the
// device, over Gloo; and, where there are several devices, a rank on each over their own. Each says its number of
// "ranks", whether all numbers were "right", and for several ranks "sum_seconds" and "bus_gb_per_s". Unimplemented in a
// build without a backend for the device.
absl::StatusOr<nlohmann::ordered_json> CompareRanks(c10::Device device);

}  // namespace grpo

#endif  // GRPO_TESTS_DEVICE_CHECK_GPU_H_
