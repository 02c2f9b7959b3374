// What `grpoctl run` and `grpoctl launch` do before anything of a run starts: the configuration, the folder, and what its
// stages will need.
#ifndef GRPO_TOOLS_GRPOCTL_LOCAL_PREPARE_H_
#define GRPO_TOOLS_GRPOCTL_LOCAL_PREPARE_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tools/grpoctl/records/run_folder.h"
#include "trainer/run_config.h"

namespace grpo {

// Which run: what both verbs' command lines say of it.
struct RunSelection {
  std::string config;
  std::vector<std::string> overrides;
  std::string run_dir;
  bool resume = false;
  // Go on, on another kind of device than the checkpoint was saved on.
  bool allow_other_device = false;
  // Whether its processes will run here, so that this machine's memory has to do.
  bool here = true;
};
// CONFIG, --set, --run-dir, --resume, --allow-other-device; `selection` outlives the parsing.
void AddRunSelection(CLI::App& verb, RunSelection* selection);

// "`grpoctl run --resume --run-dir DIR`", for messages.
std::string ResumeHint(const RunSelection& selection, const std::string& run_dir);
// InvalidArgument for a command line that selects no run, or sets what cannot be changed.
absl::Status CheckSelection(const RunSelection& selection);
// The configuration that was given, read; nothing without one. LoadRunConfig's errors.
absl::StatusOr<std::optional<LoadedConfig>> LoadGiven(const RunSelection& selection);
// --run-dir, or runs/<run.name>, or the newest run. NotFound without any.
absl::StatusOr<std::string> RunDirOf(const RunSelection& selection, const std::optional<LoadedConfig>& given);
// Before anything of a new run is there: what its stages will need. Says on stderr what is worth knowing. Errors of
// Preflight, CheckDisk and CheckMemories.
absl::Status CheckNewRun(const LoadedConfig& given, const std::string& run_dir, bool here);

// A run that is about to start or go on, and its folder.
struct PreparedRun {
  std::unique_ptr<RunFolder> folder;
  LoadedConfig config;
  bool resume = false;
  bool finished = false;
};
// Locks the folder and, of a new run, writes the configuration into it. AlreadyExists for a folder that another process
// has, or that holds a run that was not to be gone on with; all errors above.
absl::StatusOr<PreparedRun> PrepareRun(const RunSelection& selection);

// Whether summary.json has every stage of the configuration.
bool IsFinished(const std::string& run_dir, const RunConfig& config);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_LOCAL_PREPARE_H_
