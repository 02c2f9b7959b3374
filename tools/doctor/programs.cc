#include "tools/doctor/programs.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/status_macros.h"

namespace grpo {
namespace {

// "12" of "libcudart.so.12" and of "libcudart-d0da41ae.so.11.0"; 0 for another library.
int CudaMajor(absl::string_view name) {
  if (!absl::ConsumePrefix(&name, "libcudart")) return 0;
  const size_t number = name.find(".so.");
  if (number == absl::string_view::npos) return 0;
  name.remove_prefix(number + 4);
  int major = 0;
  return absl::SimpleAtoi(name.substr(0, name.find('.')), &major) ? major : 0;
}

}  // namespace

absl::StatusOr<std::vector<std::pair<std::string, std::string>>> LibrariesOf(const Machine& machine,
                                                                             const std::string& program) {
  ASSIGN_OR_RETURN(const std::string listed, machine.Run({"ldd", program}));
  std::vector<std::pair<std::string, std::string>> libraries;
  for (const absl::string_view line : absl::StrSplit(listed, '\n')) {
    const size_t arrow = line.find(" => ");
    if (arrow == absl::string_view::npos) continue;
    const absl::string_view name = absl::StripAsciiWhitespace(line.substr(0, arrow));
    absl::string_view path = absl::StripAsciiWhitespace(line.substr(arrow + 4));
    path = absl::StartsWith(path, "not found") ? "" : path.substr(0, path.find(" ("));
    libraries.emplace_back(std::string(name), std::string(path));
  }
  return libraries;
}

CudaBuild CudaBuildOf(const Machine& machine, const std::vector<std::string>& programs) {
  CudaBuild build;
  for (const std::string& program : programs) {
    const auto libraries = LibrariesOf(machine, program);
    if (!libraries.ok()) continue;
    for (const auto& [name, path] : *libraries) {
      build.is_cuda = build.is_cuda || absl::StartsWith(name, "libtorch_cuda") || absl::StartsWith(name, "libc10_cuda");
      build.cuda_major = std::max(build.cuda_major, CudaMajor(name));
    }
  }
  return build;
}

std::vector<std::string> GpuNames(const Machine& machine) {
  std::vector<std::string> gpus;
  for (const std::string& name : machine.List("/dev")) {
    absl::string_view number = name;
    int unused = 0;
    if (absl::ConsumePrefix(&number, "nvidia") && absl::SimpleAtoi(number, &unused))
      gpus.push_back(absl::StrCat("/dev/", name));
  }
  const auto listed = machine.Run({"nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"});
  if (!listed.ok()) return gpus;
  const std::vector<std::string> lines = absl::StrSplit(absl::StripAsciiWhitespace(*listed), '\n', absl::SkipEmpty());
  return lines.empty() ? gpus : lines;
}

std::string DriverVersion(const Machine& machine) {
  const auto version = machine.Run({"nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"});
  if (version.ok()) return std::string(absl::StripAsciiWhitespace(version->substr(0, version->find('\n'))));
  // "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar ..."
  const std::string kernel = machine.Read("/proc/driver/nvidia/version").value_or("");
  for (const absl::string_view word : absl::StrSplit(kernel, absl::ByAnyChar(" \n"), absl::SkipEmpty())) {
    int major = 0;
    if (absl::StrContains(word, '.') && absl::SimpleAtoi(word.substr(0, word.find('.')), &major))
      return std::string(word);
  }
  return "";
}

int LeastDriver(int cuda_major) {
  switch (cuda_major) {
    case 11:
      return 450;
    case 12:
      return 525;
    case 13:
      return 580;
    default:
      return 0;
  }
}

}  // namespace grpo
