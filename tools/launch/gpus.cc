#include "tools/launch/gpus.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/machine_memory.h"

namespace grpo {
namespace {

// CUDA sees the GPUs before the first name that is none ("-1", "NoDevFiles").
std::vector<std::string> NamedGpus(absl::string_view list) {
  std::vector<std::string> gpus;
  for (absl::string_view name : absl::StrSplit(list, ',')) {
    name = absl::StripAsciiWhitespace(name);
    const bool is_number = !name.empty() && std::all_of(name.begin(), name.end(), absl::ascii_isdigit);
    if (!is_number && !absl::StartsWith(name, "GPU-") && !absl::StartsWith(name, "MIG-")) break;
    gpus.emplace_back(name);
  }
  return gpus;
}

int64_t CountGpus(const std::string& device_folder) {
  int64_t count = 0;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(device_folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    absl::string_view number = name;
    int unused = 0;
    count += absl::ConsumePrefix(&number, "nvidia") && absl::SimpleAtoi(number, &unused);
  }
  return count;
}

}  // namespace

std::vector<std::string> VisibleGpus(const char* variable, const std::string& device_folder) {
  const int64_t count = CountGpus(device_folder);
  if (count == 0) return {};
  if (variable != nullptr) return NamedGpus(variable);
  std::vector<std::string> gpus;
  for (int64_t i = 0; i < count; ++i) gpus.push_back(absl::StrCat(i));
  return gpus;
}

std::vector<std::string> VisibleGpus() {
  return VisibleGpus(std::getenv("CUDA_VISIBLE_DEVICES"));
}

int64_t GpuOfWorker(int64_t index, int64_t num_ranks, int64_t num_gpus) {
  const int64_t num_left = num_gpus - num_ranks;
  return num_left > 0 ? num_ranks + index % num_left : index % num_gpus;
}

bool TakesGpus(const std::string& device, bool there_are_gpus) {
  return device == "cuda" || (device == "auto" && there_are_gpus);
}

MemoryPlace MemoryHere(const RunConfig& config, const std::vector<std::string>& gpus) {
  return {.bytes = TakesGpus(config.trainer.device, !gpus.empty()) ? std::nullopt : MachineMemoryBytes()};
}

}  // namespace grpo
