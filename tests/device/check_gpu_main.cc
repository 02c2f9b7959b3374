// What tools/check_gpu runs on an accelerator beside the suites: one JSON line on stdout.
//   check_gpu limits DEVICE [SIZE]                 MeasureDeviceLimits; SIZE 8192
//   check_gpu decode DEVICE float32|bfloat16       CompareDecoding
//   check_gpu ranks DEVICE                         CompareRanks
// Exits with 69 where there is no such device.
#include <cstdint>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "common/exit_codes.h"
#include "common/status_macros.h"
#include "common/thread.h"
#include "model/device.h"
#include "tests/device/check_gpu.h"

namespace grpo {
namespace {

absl::StatusOr<nlohmann::ordered_json> Run(const std::vector<std::string>& words) {
  if (words.size() < 2) return absl::InvalidArgumentError("say what to do and on which device: limits cuda");
  ASSIGN_OR_RETURN(const c10::Device device, ResolveDevice(words[1], /*local_rank=*/0));
  if (device.is_cpu()) return absl::UnavailableError("the CPU is no accelerator");
  // As a run computes: where two results must be equal, the same kernels make them.
  RETURN_IF_ERROR(UseDevice(device, /*deterministic=*/words[0] != "limits"));
  const std::string detail = words.size() > 2 ? words[2] : "";
  if (words[0] == "limits") {
    int64_t size = 8192;
    if (!detail.empty() && (!absl::SimpleAtoi(detail, &size) || size < 1)) {
      return absl::InvalidArgumentError(absl::StrCat("SIZE is ", detail, ": give a number of rows"));
    }
    return MeasureDeviceLimits(device, size);
  }
  if (words[0] == "decode" && detail == "float32") return CompareDecoding(device, at::kFloat);
  if (words[0] == "decode" && detail == "bfloat16") return CompareDecoding(device, at::kBFloat16);
  if (words[0] == "ranks" && detail.empty()) return CompareRanks(device);
  return absl::InvalidArgumentError(absl::StrCat("there is no '", words[0], " ", detail, "': see ", __FILE__));
}

int Main(const std::vector<std::string>& words) {
  const absl::StatusOr<nlohmann::ordered_json> report = Run(words);
  if (!report.ok()) {
    std::cerr << "check_gpu: " << report.status().message() << "\n";
    // Without the device (FailedPrecondition) nothing can be said of it.
    return ExitCodeFor(report.status(), kExitUnavailable);
  }
  std::cout << *report << std::endl;
  return kExitOk;
}

}  // namespace
}  // namespace grpo

int main(int argc, char** argv) {
  return grpo::Guarded("check_gpu", [&] { return grpo::Main({argv + 1, argv + argc}); });
}
