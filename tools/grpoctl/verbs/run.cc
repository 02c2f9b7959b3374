// grpoctl run: every stage of a configuration, on this machine.
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/exit_codes.h"
#include "common/files.h"
#include "common/machine_memory.h"
#include "common/status_macros.h"
#include "common/stop_signal.h"
#include "tools/grpoctl/local/local_run.h"
#include "tools/grpoctl/records/closing.h"
#include "tools/grpoctl/records/run_folder.h"
#include "tools/grpoctl/records/summary.h"
#include "tools/grpoctl/verb.h"
#include "tools/launch/run_certificates.h"
#include "tools/launch/run_plan.h"
#include "trainer/disk_need.h"
#include "trainer/memory_need.h"
#include "trainer/preflight.h"
#include "trainer/run_config.h"
#include "trainer/stage/files.h"

namespace grpo {
namespace {

struct RunFlags {
  std::string config;
  std::vector<std::string> overrides;
  std::string run_dir;
  bool resume = false;
  int max_restarts = 10;
};

// A run that is about to start or go on, and its folder.
struct Prepared {
  std::unique_ptr<RunFolder> folder;
  LoadedConfig config;
  bool resume = false;
  bool finished = false;
};

std::string ResumeHint(const std::string& run_dir) {
  return absl::StrCat("`grpoctl run --resume --run-dir ", run_dir, "`");
}

// Whether summary.json has every stage of the configuration.
bool IsFinished(const std::string& run_dir, const RunConfig& config) {
  const absl::StatusOr<std::string> content = ReadFile(run_dir + "/summary.json", kMaxSummaryBytes);
  if (!content.ok()) return false;
  const absl::StatusOr<RunSummary> summary = ParseSummary(*content);
  if (!summary.ok() || summary->stages.size() != config.stages.size()) return false;
  for (size_t i = 0; i < summary->stages.size(); ++i) {
    if (summary->stages[i].name != config.stages[i].name) return false;
  }
  return true;
}

absl::StatusOr<std::string> RunDirOf(const RunFlags& flags, const std::optional<LoadedConfig>& given) {
  if (!flags.run_dir.empty()) return flags.run_dir;
  if (given.has_value()) return "runs/" + given->config.run.name;
  return NewestRun("runs");
}

// The folder holds a run already: finished, to be resumed, or not to be touched.
absl::StatusOr<Prepared> PrepareKnownRun(const RunFlags& flags, const std::string& run_dir,
                                         std::unique_ptr<RunFolder> folder, const std::optional<LoadedConfig>& given) {
  Prepared prepared{.folder = std::move(folder), .config = {}, .resume = true, .finished = false};
  ASSIGN_OR_RETURN(prepared.config, LoadRunConfig(prepared.folder->config_path()));
  prepared.finished = IsFinished(prepared.folder->path(), prepared.config.config);
  const bool same = !given.has_value() || given->sha256 == prepared.config.sha256;
  if (!flags.resume && !(prepared.finished && same)) {
    const std::string go_on = prepared.finished ? "" : absl::StrCat("go on with ", ResumeHint(run_dir), ", ");
    return absl::AlreadyExistsError(
        absl::StrCat(run_dir, " holds ", prepared.finished ? "a finished" : "an unfinished", " run",
                     same ? "" : " of another configuration", ": ", go_on,
                     "choose another folder with --run-dir DIR, or delete it to start afresh"));
  }
  if (!same)
    std::cerr << "grpoctl: going on with " << prepared.folder->config_path() << ", which differs from " << flags.config
              << "\n";
  return prepared;
}

// Before anything of a new run is there: what its stages will need.
absl::Status CheckNewRun(const LoadedConfig& given, const std::string& run_dir) {
  Preflight preflight(given.config);
  const RunFiles files(given.config, run_dir, given.data_sha256, /*artifact_sha256=*/{});
  ASSIGN_OR_RETURN(const std::vector<CheckedData> checked, preflight.CheckAhead(files));
  ASSIGN_OR_RETURN(const double need, DiskNeed(given.config, preflight));
  RETURN_IF_ERROR(CheckDisk(need, run_dir));
  RETURN_IF_ERROR(CheckMemories(given.config, preflight, given.config.trainer.ranks, MachineMemoryBytes()));
  for (const std::string& note : Notes(checked)) std::cerr << "grpoctl: " << note << "\n";
  return absl::OkStatus();
}

absl::StatusOr<Prepared> Prepare(const RunFlags& flags) {
  std::optional<LoadedConfig> given;
  if (!flags.config.empty()) {
    ASSIGN_OR_RETURN(given, LoadRunConfig(flags.config, flags.overrides));
  }
  ASSIGN_OR_RETURN(const std::string run_dir, RunDirOf(flags, given));
  RETURN_IF_ERROR(CheckUtf8Path("--run-dir", run_dir));
  std::error_code error;
  if (!std::filesystem::exists(run_dir + "/config.yaml", error)) {
    if (!given.has_value()) {
      return absl::NotFoundError(absl::StrCat("there is no run to resume in ", run_dir,
                                              ": start one with `grpoctl run CONFIG --run-dir ", run_dir, "`"));
    }
    RETURN_IF_ERROR(CheckNewRun(*given, run_dir));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<RunFolder> folder, RunFolder::Lock(run_dir));
  if (folder->HasRun()) return PrepareKnownRun(flags, run_dir, std::move(folder), given);
  RETURN_IF_ERROR(folder->Begin(given->resolved_yaml));
  return Prepared{.folder = std::move(folder), .config = *std::move(given), .resume = false, .finished = false};
}

int ShowReport(const std::string& run_dir, const RunConfig& config) {
  std::vector<std::string> artifacts;
  for (const auto& [name, artifact] : config.artifacts) artifacts.push_back(artifact.path);
  const absl::StatusOr<std::string> report = ClosingText(run_dir, artifacts);
  if (!report.ok()) return Fail(report.status());
  if (std::cout << *report << std::flush) return kExitOk;
  // The run is whole, and so is what it wrote: a stdout that takes nothing is no failure of its.
  std::cerr << "grpoctl: stdout could not take the closing report; `grpoctl report --run-dir " << run_dir
            << "` writes one\n";
  std::cout.clear();
  if (std::freopen("/dev/null", "w", stdout) == nullptr) std::clearerr(stdout);
  return kExitOk;
}

// How this grpoctl calls the run's trainer. Where the run is to have certificates of its own, they are there then.
absl::StatusOr<rpc::ClientOptions> PrepareClient(NetworkOptions network, const std::string& run_dir,
                                                 const std::string& run_id) {
  if (!NeedsRunCertificates(network)) return network.ClientOptions();
  RETURN_IF_ERROR(MakeRunCertificates({.run_dir = run_dir, .run_id = run_id, .hosts = OwnHosts(network)}));
  network.UseRunCertificates(RunCertificateFolder(run_dir), "operator");
  return network.ClientOptions();
}

absl::StatusOr<int> Execute(const Prepared& prepared, int max_restarts) {
  const RunConfig& config = prepared.config.config;
  const std::string& run_dir = prepared.folder->path();
  ASSIGN_OR_RETURN(const Programs programs, FindPrograms());
  ASSIGN_OR_RETURN(const std::string run_id, prepared.folder->RunId(config.run.name));
  ASSIGN_OR_RETURN(
      const RunPlan plan,
      MakeRunPlan(config, {.run_dir = run_dir, .run_id = run_id, .programs = programs, .resume = prepared.resume}));
  ASSIGN_OR_RETURN(const rpc::ClientOptions client, PrepareClient(config.network, run_dir, run_id));
  // A newer build resolves more keys than the one that began, and the run's processes compare the file's hash.
  if (prepared.resume) RETURN_IF_ERROR(prepared.folder->Begin(prepared.config.resolved_yaml));
  ProgressPrinter printer(std::cerr, StyleFor(STDERR_FILENO), Clock::Real());
  printer.Note(absl::StrCat("run ", run_id, " in ", run_dir));
  const absl::Duration stop_within = absl::Seconds(config.trainer.stop_within_s);
  SetStopBound(stop_within + LocalRun::kStopSlack);
  return LocalRun(plan,
                  {.max_restarts_per_role = max_restarts,
                   .stop_within = stop_within,
                   .client = client,
                   .lock_fd = prepared.folder->lock_fd()},
                  &printer)
      .Run();
}

int Run(const RunFlags& flags) {
  if (!flags.resume && flags.config.empty()) {
    std::cerr << "grpoctl: run needs a CONFIG (configs/quickstart.yaml is one), or --resume to go on with a run\n";
    return kExitUsage;
  }
  if (flags.resume && !flags.overrides.empty()) {
    std::cerr
        << "grpoctl: --resume goes on with the configuration saved in the run folder, which --set cannot change\n";
    return kExitUsage;
  }
  InstallStopSignal();
  const absl::StatusOr<Prepared> prepared = Prepare(flags);
  if (!prepared.ok()) return Fail(prepared.status());
  const std::string& run_dir = prepared->folder->path();
  if (prepared->finished) {
    std::cerr << "This run is finished. To start afresh, delete " << run_dir
              << " or choose another folder with --run-dir DIR.\n\n";
    return ShowReport(run_dir, prepared->config.config);
  }
  const absl::StatusOr<int> exit_code = Execute(*prepared, flags.max_restarts);
  if (!exit_code.ok()) return Fail(exit_code.status());
  if (*exit_code == kExitOk && IsFinished(run_dir, prepared->config.config))
    return ShowReport(run_dir, prepared->config.config);
  // `grpoctl stop` ends the trainer with 0, a signal with 75.
  const bool stopped = *exit_code == kExitOk || *exit_code == kExitRetry;
  if (stopped) {
    std::cerr << "The run was stopped; go on with " << ResumeHint(run_dir) << ".";
  } else {
    std::cerr << "The run failed; once the cause is mended, go on with " << ResumeHint(run_dir)
              << " (a changed configuration needs a --run-dir of its own).";
  }
  std::cerr << " What each process said is in " << run_dir << "/logs.\n";
  return *exit_code;
}

}  // namespace

void AddRunVerb(CLI::App& app, int* exit_code) {
  const auto flags = std::make_shared<RunFlags>();
  CLI::App* verb = AddSubcommand(
      app, "run", "Run every stage of a configuration on this machine",
      "  grpoctl run configs/quickstart.yaml\n"
      "  grpoctl run configs/quickstart.yaml --set run.seed=1 --run-dir runs/seed1\n"
      "  grpoctl run --resume --run-dir runs/seed1",
      [flags] { return Run(*flags); }, exit_code);
  verb->add_option("CONFIG", flags->config, "YAML file; without it --resume goes on with the run's own");
  verb->add_option("--set", flags->overrides,
                   "Override a key, as in --set trainer.threads=2 or --set stages.NAME.steps=10; may be repeated")
      ->allow_extra_args(false)
      ->option_text("KEY=VALUE");
  verb->add_option("--run-dir", flags->run_dir, "Folder for everything that the run writes (default: runs/<run.name>)")
      ->option_text("DIR");
  verb->add_flag("--resume", flags->resume, "Go on with the run in the folder, from its last checkpoint");
  verb->add_option("--max-restarts", flags->max_restarts,
                   "Restarts of each role (trainer, reward servers, rollout workers) before the run fails")
      ->capture_default_str()
      ->check(CLI::Range(0, 1000000))
      ->option_text("N");
}

}  // namespace grpo
