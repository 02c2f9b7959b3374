// What computes: processors, memory, GPUs.
#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "tools/doctor/checks.h"
#include "tools/doctor/programs.h"

namespace grpo {
namespace {

constexpr double kGibibyte = 1 << 30;
// Ranks and workers start, read a model and then find that there is nothing left.
constexpr double kLeastMemoryBytes = kGibibyte;
// NCCL's rings between the ranks of a machine, with room; Docker gives 64 MiB unless it is told otherwise.
constexpr double kLeastShmBytes = kGibibyte;

std::string Gibibytes(double bytes) {
  return absl::StrFormat("%.1f GiB", bytes / kGibibyte);
}

// What stands behind `key` and a colon in lines of "key : value"; empty without one.
std::string ValueOf(const std::string& text, absl::string_view key) {
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (!absl::ConsumePrefix(&line, key)) continue;
    line = absl::StripLeadingAsciiWhitespace(line);
    if (absl::ConsumePrefix(&line, ":")) return std::string(absl::StripAsciiWhitespace(line));
  }
  return "";
}

// Two numbers of a quota: processors. nullopt where one is none ("max").
std::optional<double> Processors(absl::string_view quota_text, absl::string_view period_text) {
  double quota = 0, period = 0;
  if (!absl::SimpleAtod(quota_text, &quota) || !absl::SimpleAtod(period_text, &period)) return std::nullopt;
  return quota > 0 && period > 0 ? std::optional<double>(quota / period) : std::nullopt;
}

// Of this process's group: processors that it gets, by its quota; nullopt without one. Of cgroup v2 the group and those
// around it; of v1 what a container sees as its own.
std::optional<double> QuotaOf(const Machine& machine) {
  std::optional<double> least = Processors(machine.Read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").value_or(""),
                                           machine.Read("/sys/fs/cgroup/cpu/cpu.cfs_period_us").value_or(""));
  std::string group;
  for (absl::string_view line : absl::StrSplit(machine.Read("/proc/self/cgroup").value_or(""), '\n')) {
    if (absl::ConsumePrefix(&line, "0::")) group = std::string(line);
  }
  while (true) {
    while (absl::EndsWith(group, "/")) group.pop_back();
    const std::string limit = machine.Read(absl::StrCat("/sys/fs/cgroup", group, "/cpu.max")).value_or("");
    const std::pair<std::string, std::string> words = absl::StrSplit(limit, ' ');
    const std::optional<double> here = Processors(words.first, words.second);
    if (here.has_value()) least = std::min(least.value_or(*here), *here);
    if (group.empty()) return least;
    group.resize(group.rfind('/') == std::string::npos ? 0 : group.rfind('/'));
  }
}

// Those that compute in bfloat16 somewhere.
std::vector<std::string> Bfloat16Policies(const RunConfig* config) {
  std::vector<std::string> policies;
  if (config == nullptr) return policies;
  for (const auto& [name, policy] : config->policies) {
    if (policy.compute_dtype == "bfloat16" || policy.head_dtype == "bfloat16") policies.push_back(name);
  }
  return policies;
}

void CheckInstructions(const Subject& subject, Findings* findings) {
  const std::string cpuinfo = subject.machine.Read("/proc/cpuinfo").value_or("");
  const std::string model = ValueOf(cpuinfo, "model name");
  const std::string text = ValueOf(cpuinfo, "flags");
  if (text.empty()) return findings->Ok("what instructions the processor has is not known");
  const std::set<std::string> flags = absl::StrSplit(text, ' ', absl::SkipEmpty());
  std::vector<std::string> has;
  for (const char* flag : {"avx2", "avx512f", "avx512_bf16", "amx_bf16"}) {
    if (flags.count(flag) > 0) has.push_back(flag);
  }
  const std::string what =
      absl::StrCat(model, " with ", has.empty() ? "none of AVX2, AVX-512, AMX" : absl::StrJoin(has, ", "));
  if (flags.count("avx2") == 0)
    return findings->Warn(what, "products take several times as long; use a processor with AVX2 or later");
  const std::vector<std::string> wanted = Bfloat16Policies(subject.config);
  if (wanted.empty() || flags.count("avx512_bf16") + flags.count("amx_bf16") > 0) return findings->Ok(what);
  findings->Warn(absl::StrCat(what, ": products in bfloat16 (policies ", absl::StrJoin(wanted, ", "),
                              ") are slow, or computed otherwise than on a machine that has them"),
                 "float32 is as fast here; otherwise a processor with avx512_bf16 or amx_bf16");
}

// Threads of all processes of the configuration, if they are all on this machine.
int64_t NumThreads(const RunConfig& config) {
  return config.trainer.ranks * config.trainer.threads + config.NumWorkers() * config.rollout_worker.threads;
}

void CheckProcessorCount(const Subject& subject, Findings* findings) {
  const auto num_processors = static_cast<double>(subject.machine.NumProcessors());
  const std::optional<double> quota = QuotaOf(subject.machine);
  const double usable = std::min(num_processors, quota.value_or(num_processors));
  std::string what = absl::StrFormat("%.4g processors may be used", usable);
  if (usable < num_processors)
    absl::StrAppendFormat(&what, ", by the group's quota (cpu.max); programs see %.4g", num_processors);
  const int64_t threads = subject.config == nullptr ? 0 : NumThreads(*subject.config);
  // Sampling and training take turns, so each side may have all of them.
  if (static_cast<double>(threads) <= 2 * std::ceil(usable)) return findings->Ok(what);
  findings->Warn(absl::StrCat(what, "; trainer and workers have ", threads, " threads together"),
                 "lower trainer.threads and rollout_worker.threads, or spread the run over more machines");
}

}  // namespace

void CheckProcessor(const Subject& subject, Findings* findings) {
  CheckInstructions(subject, findings);
  CheckProcessorCount(subject, findings);
}

void CheckMemory(const Subject& subject, Findings* findings) {
  const Machine& machine = subject.machine;
  const std::string meminfo = machine.Read("/proc/meminfo").value_or("");
  int64_t available_kib = 0;
  const bool known = absl::SimpleAtoi(absl::StripSuffix(ValueOf(meminfo, "MemAvailable"), " kB"), &available_kib);
  const double available = static_cast<double>(available_kib) * 1024;
  const std::string all = Gibibytes(static_cast<double>(machine.MemoryBytes().value_or(0)));
  if (known && available < kLeastMemoryBytes) {
    findings->Warn(absl::StrCat(Gibibytes(available), " of ", all, " are available"),
                   "end what else runs here; `grpoctl validate CONFIG` says what a run needs");
  } else {
    findings->Ok(absl::StrCat(known ? Gibibytes(available) : "an unknown part", " of ", all, " is available"));
  }
  int64_t limit = 0;
  if (absl::SimpleAtoi(machine.Read("/sys/fs/cgroup/memory/memory.limit_in_bytes").value_or(""), &limit) &&
      static_cast<double>(limit) < static_cast<double>(machine.MemoryBytes().value_or(0))) {
    findings->Warn(absl::StrCat("a memory limit of ", Gibibytes(static_cast<double>(limit)),
                                " (cgroup v1) holds, which the checks before a run do not see"),
                   "raise it, or read the estimate of `grpoctl validate` against it");
  }
  if (machine.Read("/proc/sys/vm/overcommit_memory") == "2") {
    findings->Warn("vm.overcommit_memory is 2: memory that is only reserved counts as used",
                   "sysctl vm.overcommit_memory=0, or have much more memory than `grpoctl validate` says");
  }
  const std::optional<DiskSpace> shm = machine.Space("/dev/shm");
  if (!shm.has_value()) return findings->Warn("there is no /dev/shm", "mount a tmpfs there");
  const std::string what = absl::StrCat("/dev/shm has ", Gibibytes(static_cast<double>(shm->bytes_total)),
                                        " (weights for workers on this "
                                        "machine do not need it; NCCL does)");
  if (static_cast<double>(shm->bytes_total) >= kLeastShmBytes || GpuNames(machine).empty()) return findings->Ok(what);
  findings->Warn(what, "start the container with --shm-size=8g (Kubernetes: an emptyDir of medium Memory)");
}

void CheckGpus(const Subject& subject, Findings* findings) {
  const std::vector<std::string> gpus = GpuNames(subject.machine);
  const CudaBuild build = CudaBuildOf(subject.machine, subject.programs);
  if (gpus.empty()) {
    if (!build.is_cuda) return findings->Ok("there is none, and this build computes on the processor");
    return findings->Warn("this build is for GPUs, and there is none (no /dev/nvidia0)",
                          "run on a machine with GPUs, or give the container its GPUs (--gpus all)");
  }
  const std::string driver = DriverVersion(subject.machine);
  const std::string what = absl::StrCat(absl::StrJoin(gpus, "; "), driver.empty() ? "" : ", driver ", driver);
  if (!build.is_cuda)
    return findings->Warn(absl::StrCat(what, ": this build computes on the processor"), "build with --config=cuda");
  if (driver.empty())
    return findings->Problem(absl::StrCat(what, ": its driver does not answer"),
                             "load the kernel module, or install nvidia-smi's package of the same version",
                             kExitUnavailable);
  const int least = LeastDriver(build.cuda_major);
  int major = 0;
  if (least > 0 && absl::SimpleAtoi(driver.substr(0, driver.find('.')), &major) && major < least) {
    return findings->Problem(absl::StrCat(what, " is too old for CUDA ", build.cuda_major, ", which asks for ", least),
                             "update the driver, or take LibTorch for an older CUDA", kExitUnavailable);
  }
  findings->Ok(absl::StrCat(what, ", CUDA ",
                            build.cuda_major > 0 ? absl::StrCat(build.cuda_major)
                                                 : "of a version "
                                                   "not known"));
}

}  // namespace grpo
