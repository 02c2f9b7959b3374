// What tools/check_gpu runs on an accelerator beside the suites: one JSON line on stdout.
//   check_gpu limits DEVICE [SIZE]                 MeasureDeviceLimits; SIZE 8192
//   check_gpu decode DEVICE float32|bfloat16       CompareDecoding
//   check_gpu ranks DEVICE                         CompareRanks
// Exits with 69 where there is no such device.
#include <cstdint>
#include <iostream>
#include <map>
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

using Report = absl::StatusOr<nlohmann::ordered_json>;

Report Limits(c10::Device device, const std::string& size_text) {
  int64_t size = 8192;
  if (!size_text.empty() && (!absl::SimpleAtoi(size_text, &size) || size < 1)) {
    return absl::InvalidArgumentError(absl::StrCat("SIZE is ", size_text, ": give a number of rows"));
  }
  return MeasureDeviceLimits(device, size);
}

Report Decode(c10::Device device, const std::string& dtype) {
  if (dtype == "float32") return CompareDecoding(device, at::kFloat);
  if (dtype == "bfloat16") return CompareDecoding(device, at::kBFloat16);
  return absl::InvalidArgumentError(absl::StrCat("the dtype is '", dtype, "': say float32 or bfloat16"));
}

Report Ranks(c10::Device device, const std::string&) {
  return CompareRanks(device);
}

struct Verb {
  Report (*run)(c10::Device device, const std::string& detail);
  // As a run computes: where two results must be equal, the same kernels make them.
  bool deterministic;
};

Report Run(const std::vector<std::string>& words) {
  static const std::map<std::string, Verb> kVerbs = {
      {"limits", {Limits, false}}, {"decode", {Decode, true}}, {"ranks", {Ranks, true}}};
  const auto verb = words.size() < 2 ? kVerbs.end() : kVerbs.find(words[0]);
  if (verb == kVerbs.end())
    return absl::InvalidArgumentError("say limits, decode or ranks, and which device: limits cuda");
  ASSIGN_OR_RETURN(const c10::Device device, ResolveDevice(words[1], /*local_rank=*/0));
  if (device.is_cpu()) return absl::UnavailableError("the CPU is no accelerator");
  RETURN_IF_ERROR(UseDevice(device, verb->second.deterministic));
  return verb->second.run(device, words.size() > 2 ? words[2] : "");
}

int Main(const std::vector<std::string>& words) {
  const Report report = Run(words);
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
