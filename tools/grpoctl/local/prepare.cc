#include "tools/grpoctl/local/prepare.h"

#include <filesystem>
#include <iostream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "tools/grpoctl/records/summary.h"
#include "tools/launch/gpus.h"
#include "trainer/disk_need.h"
#include "trainer/memory_need.h"
#include "trainer/preflight.h"
#include "trainer/stage/files.h"

namespace grpo {
namespace {

// The folder holds a run already: finished, to be resumed, or not to be touched.
absl::StatusOr<PreparedRun> PrepareKnownRun(const RunSelection& selection, const std::string& run_dir,
                                            std::unique_ptr<RunFolder> folder,
                                            const std::optional<LoadedConfig>& given) {
  PreparedRun prepared{.folder = std::move(folder), .config = {}, .resume = true, .finished = false};
  ASSIGN_OR_RETURN(prepared.config, LoadRunConfig(prepared.folder->config_path()));
  prepared.finished = IsFinished(prepared.folder->path(), prepared.config.config);
  const bool same = !given.has_value() || given->sha256 == prepared.config.sha256;
  if (!selection.resume && !(prepared.finished && same)) {
    const std::string go_on =
        prepared.finished ? "" : absl::StrCat("go on with ", ResumeHint(selection, run_dir), ", ");
    return absl::AlreadyExistsError(
        absl::StrCat(run_dir, " holds ", prepared.finished ? "a finished" : "an unfinished", " run",
                     same ? "" : " of another configuration", ": ", go_on,
                     "choose another folder with --run-dir DIR, or delete it to start afresh"));
  }
  if (!same)
    std::cerr << "grpoctl: going on with " << prepared.folder->config_path() << ", which differs from "
              << selection.config << "\n";
  return prepared;
}

}  // namespace

void AddRunSelection(CLI::App& verb, RunSelection* selection) {
  verb.add_option("CONFIG", selection->config, "YAML file; without it --resume goes on with the run's own");
  verb.add_option("--set", selection->overrides,
                  "Override a key, as in --set trainer.threads=2 or --set stages.NAME.steps=10; may be repeated")
      ->allow_extra_args(false)
      ->option_text("KEY=VALUE");
  verb.add_option("--run-dir", selection->run_dir,
                  "Folder for everything that the run writes (default: runs/<run.name>)")
      ->option_text("DIR");
  CLI::Option* resume =
      verb.add_flag("--resume", selection->resume, "Go on with the run in the folder, from its last checkpoint");
  verb.add_flag("--allow-other-device", selection->allow_other_device,
                "Go on, although that was saved on another kind of device (cpu, cuda): results differ from here on")
      ->needs(resume);
}

std::string ResumeHint(const RunSelection& selection, const std::string& run_dir) {
  return absl::StrCat("`grpoctl ", selection.here ? "run" : "launch", " --resume --run-dir ", run_dir, "`");
}

absl::Status CheckSelection(const RunSelection& selection) {
  if (!selection.resume && selection.config.empty()) {
    return absl::InvalidArgumentError(
        "this needs a CONFIG (configs/quickstart.yaml is one), or --resume to go on with a run");
  }
  if (selection.resume && !selection.overrides.empty()) {
    return absl::InvalidArgumentError(
        "--resume goes on with the configuration saved in the run folder, which --set cannot change");
  }
  return absl::OkStatus();
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

absl::StatusOr<std::optional<LoadedConfig>> LoadGiven(const RunSelection& selection) {
  std::optional<LoadedConfig> given;
  if (!selection.config.empty()) {
    ASSIGN_OR_RETURN(given, LoadRunConfig(selection.config, selection.overrides));
  }
  return given;
}

absl::StatusOr<std::string> RunDirOf(const RunSelection& selection, const std::optional<LoadedConfig>& given) {
  if (!selection.run_dir.empty()) return selection.run_dir;
  if (given.has_value()) return "runs/" + given->config.run.name;
  return NewestRun("runs");
}

absl::Status CheckNewRun(const LoadedConfig& given, const std::string& run_dir, bool here) {
  Preflight preflight(given.config);
  const RunFiles files(given.config, run_dir, given.data_sha256, /*artifact_sha256=*/{});
  ASSIGN_OR_RETURN(const std::vector<CheckedData> checked, preflight.CheckAhead(files));
  ASSIGN_OR_RETURN(const double need, DiskNeed(given.config, preflight));
  RETURN_IF_ERROR(CheckDisk(need, run_dir));
  if (here)
    RETURN_IF_ERROR(
        CheckMemories(given.config, preflight, given.config.trainer.ranks, MemoryHere(given.config, VisibleGpus())));
  for (const std::string& note : Notes(checked)) std::cerr << "grpoctl: " << note << "\n";
  return absl::OkStatus();
}

absl::StatusOr<PreparedRun> PrepareRun(const RunSelection& selection) {
  ASSIGN_OR_RETURN(std::optional<LoadedConfig> given, LoadGiven(selection));
  ASSIGN_OR_RETURN(const std::string run_dir, RunDirOf(selection, given));
  RETURN_IF_ERROR(CheckUtf8Path("--run-dir", run_dir));
  std::error_code error;
  if (!std::filesystem::exists(run_dir + "/config.yaml", error)) {
    if (!given.has_value()) {
      return absl::NotFoundError(absl::StrCat("there is no run to resume in ", run_dir, ": start one with `grpoctl ",
                                              selection.here ? "run" : "launch", " CONFIG --run-dir ", run_dir, "`"));
    }
    RETURN_IF_ERROR(CheckNewRun(*given, run_dir, selection.here));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<RunFolder> folder, RunFolder::Lock(run_dir));
  if (folder->HasRun()) return PrepareKnownRun(selection, run_dir, std::move(folder), given);
  RETURN_IF_ERROR(folder->Begin(given->resolved_yaml));
  return PreparedRun{.folder = std::move(folder), .config = *std::move(given), .resume = false, .finished = false};
}

}  // namespace grpo
