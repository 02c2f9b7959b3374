// Programs, limits, the kernel, the sandbox, and launchers.
#include <sys/resource.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "tools/doctor/checks.h"
#include "tools/doctor/programs.h"

namespace grpo {
namespace {

// The first two numbers of a version that stands anywhere in a text; {0, 0} without one.
std::pair<int, int> VersionIn(const std::string& text) {
  for (const absl::string_view word : absl::StrSplit(text, absl::ByAnyChar(" \n\t,:v\"-"), absl::SkipEmpty())) {
    const std::vector<absl::string_view> numbers = absl::StrSplit(word, '.');
    std::pair<int, int> version;
    if (numbers.size() > 1 && absl::SimpleAtoi(numbers[0], &version.first) &&
        absl::SimpleAtoi(numbers[1], &version.second))
      return version;
  }
  return {0, 0};
}

std::string FileName(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

// --- Limits ---

void CheckOpenFiles(const Subject& subject, Findings* findings) {
  const std::optional<int64_t> limit = subject.machine.Limit(RLIMIT_NOFILE);
  if (!limit.has_value()) return findings->Ok("open files are not limited");
  // A connection or two of each process with rank 0, and its own files.
  const int64_t num_peers =
      subject.config == nullptr ? 0 : subject.config->NumWorkers() + subject.config->NumRewardServers();
  const int64_t need = 128 + 4 * num_peers;
  const std::string what = absl::StrCat(*limit, " open files");
  if (*limit < need)
    return findings->Problem(absl::StrCat(what, ", and rank 0 may need ", need), "ulimit -n 65536", kExitCannotCreate);
  if (*limit < 1024) return findings->Warn(what, "ulimit -n 65536, if the run is to have many workers");
  findings->Ok(what);
}

// Limits that programs of this kind run into at their worst moment.
void CheckSizes(const Subject& subject, Findings* findings) {
  struct Row {
    int resource;
    const char* what;
    const char* todo;
  };
  constexpr Row kRows[] = {
      {RLIMIT_FSIZE, "the size of a file is limited",
       "ulimit -f unlimited: a checkpoint is one large file for a policy"},
      {RLIMIT_AS, "address space is limited", "ulimit -v unlimited: LibTorch reserves more than it uses"},
      {RLIMIT_CPU, "processor time is limited",
       "ulimit -t unlimited: the kernel kills a trainer in the middle of a run"},
  };
  bool limited = false;
  for (const Row& row : kRows) {
    const std::optional<int64_t> limit = subject.machine.Limit(row.resource);
    if (!limit.has_value()) continue;
    limited = true;
    findings->Warn(absl::StrCat(row.what, " (", *limit, ")"), row.todo);
  }
  if (!limited) findings->Ok("sizes of files and address space, and processor time, are not limited");
}

// --- Kernel ---

void CheckCoreDumps(const Machine& machine, Findings* findings) {
  const std::optional<int64_t> limit = machine.Limit(RLIMIT_CORE);
  const std::string pattern = machine.Read("/proc/sys/kernel/core_pattern").value_or("");
  // The limit does not hold for a program that takes them.
  if (absl::StartsWith(pattern, "|"))
    return findings->Ok(absl::StrCat("core dumps go to a program (", pattern.substr(1), ")"));
  if (limit == 0) return findings->Ok("no core dumps (ulimit -c is 0)");
  findings->Warn(absl::StrCat("a crash writes all memory of its process to ", pattern,
                              absl::StartsWith(pattern, "/") ? "" : " in its working folder"),
                 "ulimit -c 0, unless you want that");
}

// --- Launchers ---

struct Launcher {
  const char* program;
  // What makes it say its version; none where that takes seconds.
  std::vector<std::string> ask;
  const char* launches;
};

const std::vector<Launcher>& Launchers() {
  static const auto* const launchers = new std::vector<Launcher>{
      {"sbatch", {"--version"}, "`grpoctl launch --on slurm`"},
      {"kubectl", {"version", "--client"}, "`grpoctl launch --on kubernetes`"},
      {"ray", {"--version"}, "`grpoctl launch --on ray`"},
      {"torchrun", {}, "torchrun, by hand"},
  };
  return *launchers;
}

// The first line that has a version in it; the whole text's first line without one.
std::string VersionLine(const std::string& text) {
  const std::vector<std::string> lines = absl::StrSplit(absl::StripAsciiWhitespace(text), '\n');
  for (const std::string& line : lines) {
    if (VersionIn(line) != std::pair<int, int>(0, 0)) return std::string(absl::StripAsciiWhitespace(line));
  }
  return lines[0];
}

void CheckLauncher(const Machine& machine, const Launcher& launcher, Findings* findings) {
  if (launcher.ask.empty()) return findings->Ok(absl::StrCat(launcher.program, " is here"));
  std::vector<std::string> argv = {launcher.program};
  argv.insert(argv.end(), launcher.ask.begin(), launcher.ask.end());
  const absl::StatusOr<std::string> said = machine.Run(argv);
  if (!said.ok()) {
    return findings->Warn(
        absl::StrCat(launcher.program, " is here and does not say its version: ", said.status().message()),
        absl::StrCat("repair it, if ", launcher.launches, " is to work"));
  }
  const std::string what = absl::StrCat(launcher.program, ": ", VersionLine(*said));
  if (launcher.program != std::string("ray") || VersionIn(*said) >= std::pair(2, 52)) return findings->Ok(what);
  findings->Warn(what, "take Ray 2.52 or later: before, whoever reaches its port runs what they like (CVE-2025-62593)");
}

bool HasPrograms(const RunConfig& config) {
  return std::any_of(config.rewards.begin(), config.rewards.end(), [](const auto& profile) {
    return std::any_of(profile.second.rules.begin(), profile.second.rules.end(), [](const auto& rule) {
      return (rule.second.type.empty() ? rule.first : rule.second.type) == "program";
    });
  });
}

}  // namespace

void CheckLibraries(const Subject& subject, Findings* findings) {
  if (subject.programs.empty())
    findings->Problem("the programs of a run are not beside grpoctl",
                      "build them: `bazel build //trainer //rollout:rollout_worker //reward:reward_server`",
                      kExitNoInput);
  for (const std::string& program : subject.programs) {
    const auto libraries = LibrariesOf(subject.machine, program);
    if (!libraries.ok()) {
      findings->Warn(absl::StrCat("what ", FileName(program), " links is not known: ", libraries.status().message()),
                     "start it with --help, and see whether it does");
      continue;
    }
    std::vector<std::string> missing;
    std::string torch;
    for (const auto& [name, path] : *libraries) {
      if (path.empty()) missing.push_back(name);
      if (absl::StartsWith(name, "libtorch_cpu")) torch = path;
    }
    if (missing.empty()) {
      findings->Ok(absl::StrCat(FileName(program), ": all ", libraries->size(), " libraries are found",
                                torch.empty() ? "" : ", LibTorch in ", torch.substr(0, torch.rfind('/'))));
      continue;
    }
    findings->Problem(absl::StrCat(FileName(program), " lacks ", absl::StrJoin(missing, ", ")),
                      "run tools/setup on this machine, and build again where LibTorch has moved", kExitUnavailable);
  }
}

void CheckLimits(const Subject& subject, Findings* findings) {
  CheckOpenFiles(subject, findings);
  CheckSizes(subject, findings);
  constexpr int64_t kFewProcesses = 2048;
  const std::optional<int64_t> processes = subject.machine.Limit(RLIMIT_NPROC);
  if (processes.has_value() && *processes < kFewProcesses)
    findings->Warn(absl::StrCat("this user may have ", *processes, " processes and threads"), "ulimit -u 16384");
  constexpr int64_t kPinned = 64 << 20;
  const std::optional<int64_t> locked = subject.machine.Limit(RLIMIT_MEMLOCK);
  if (locked.has_value() && *locked < kPinned && !GpuNames(subject.machine).empty())
    findings->Warn(
        absl::StrCat(*locked >> 10, " KiB of memory may be locked, and NCCL over InfiniBand locks its buffers"),
        "ulimit -l unlimited (Slurm: PropagateResourceLimitsExcept=MEMLOCK)");
}

void CheckKernel(const Subject& subject, Findings* findings) {
  const Machine& machine = subject.machine;
  const std::string release = machine.Read("/proc/sys/kernel/osrelease").value_or("");
  const std::pair<int, int> version = VersionIn(release);
  if (version != std::pair<int, int>(0, 0) && version < std::pair(5, 13)) {
    findings->Warn(absl::StrCat("Linux ", release),
                   "Linux 5.13 or later has all that the sandbox of programs is made of");
  } else {
    findings->Ok(absl::StrCat("Linux ", release));
  }
  if (machine.Read("/proc/sys/kernel/sched_autogroup_enabled") == "1")
    findings->Ok("autogroup is on: `nice` counts only among the processes of one terminal's session");
  CheckCoreDumps(machine, findings);
}

void CheckSandbox(const Subject& subject, Findings* findings) {
  const int landlock = subject.machine.LandlockVersion();
  const std::string lacking = subject.machine.SandboxShortfall();
  if (lacking.empty())
    return findings->Ok(
        absl::StrCat("reward programs get all of it: system calls by a list, namespaces, Landlock ", landlock));
  const std::string what = absl::StrCat("reward programs do without a part of it, this machine has ", lacking);
  if (subject.config == nullptr)
    return findings->Warn(what, "mind it where rules are programs (type: program) that you do not trust");
  if (!HasPrograms(*subject.config)) return findings->Ok(what + "; this configuration has none");
  const char* const todo = "score on another machine, or outside of the container that takes these away";
  if (subject.config->reward_server.sandbox == "required")
    return findings->Problem(what + ", and reward_server.sandbox is required", todo, kExitConfig);
  findings->Warn(what, todo);
}

void CheckLaunchers(const Subject& subject, Findings* findings) {
  std::vector<std::string> absent;
  for (const Launcher& launcher : Launchers()) {
    if (subject.machine.Which(launcher.program).empty()) {
      absent.push_back(launcher.program);
    } else {
      CheckLauncher(subject.machine, launcher, findings);
    }
  }
  if (!absent.empty()) findings->Ok(absl::StrCat("not here: ", absl::StrJoin(absent, ", ")));
}

}  // namespace grpo
