// grpoctl launch: the same run, on a cluster.
#include "tools/launch/launch.h"

#include <unistd.h>

#include <ctime>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "common/exit_codes.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "tools/grpoctl/client/job_follower.h"
#include "tools/grpoctl/local/local_run.h"
#include "tools/grpoctl/local/prepare.h"
#include "tools/grpoctl/verb.h"
#include "tools/launch/target.h"
#include "trainer/preflight.h"

namespace grpo {
namespace {

struct LaunchFlags {
  RunSelection selection{.here = false};
  std::string on, out;
  bool dry_run = false, follow = false;
  OutputFormat format = OutputFormat::kTable;
};

absl::StatusOr<std::string> OwnPath() {
  std::error_code error;
  const std::filesystem::path own = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return absl::InternalError(absl::StrCat("cannot read /proc/self/exe: ", error.message()));
  return own.string();
}

// What would be submitted of a configuration; it is shown, and files are written, from this alone. `config` outlives it.
struct Draft {
  LaunchRequest request;
  std::vector<LaunchFile> files;
};

absl::StatusOr<Draft> DraftOf(const LaunchTarget& target, const RunConfig& config, LaunchPlace place) {
  ASSIGN_OR_RETURN(place.programs, FindPrograms());
  ASSIGN_OR_RETURN(place.grpoctl, OwnPath());
  Preflight preflight(config);
  ASSIGN_OR_RETURN(const LaunchRequest request, MakeLaunchRequest(config, preflight, place));
  ASSIGN_OR_RETURN(std::vector<LaunchFile> files, target.Render(request));
  return Draft{.request = request, .files = std::move(files)};
}

// A run that is there has its id; a new one gets its own when it is submitted.
std::string RunIdIn(const std::string& run_dir, const std::string& run_name) {
  const absl::StatusOr<std::string> known = ReadFile(run_dir + "/run_id", /*max_bytes=*/1 << 12);
  return known.ok() ? known->substr(0, known->find('\n')) : run_name + "-00000000";
}

// The configuration that would be launched and its folder, with nothing touched. Whether it may be is for the caller.
struct Chosen {
  LoadedConfig config;
  std::string run_dir;
  bool is_new = false;
};

absl::StatusOr<Chosen> Choose(const RunSelection& selection) {
  ASSIGN_OR_RETURN(std::optional<LoadedConfig> given, LoadGiven(selection));
  Chosen chosen;
  ASSIGN_OR_RETURN(const std::string run_dir, RunDirOf(selection, given));
  RETURN_IF_ERROR(CheckUtf8Path("--run-dir", run_dir));
  std::error_code error;
  chosen.run_dir = std::filesystem::absolute(run_dir, error).lexically_normal().string();
  const std::string saved = chosen.run_dir + "/config.yaml";
  chosen.is_new = !std::filesystem::exists(saved, error);
  if (given.has_value() && (chosen.is_new || !selection.resume)) {
    chosen.config = *std::move(given);
  } else {
    ASSIGN_OR_RETURN(chosen.config, LoadRunConfig(saved));
  }
  return chosen;
}

void Show(const LaunchFlags& flags, const Draft& draft) {
  std::cout << (flags.format == OutputFormat::kJson ? LaunchJson(draft.request, flags.on, draft.files)
                                                    : LaunchText(draft.request, flags.on, draft.files))
            << std::flush;
}

// Shows what would be submitted; with --out, writes it there, with certificates where they are a part of it.
absl::Status DryRun(const LaunchFlags& flags, const LaunchTarget& target, const Chosen& chosen, LaunchPlace place) {
  const RunConfig& config = chosen.config.config;
  if (chosen.is_new) RETURN_IF_ERROR(CheckNewRun(chosen.config, chosen.run_dir, /*here=*/false));
  if (!flags.out.empty() && target.CarriesTls()) {
    ASSIGN_OR_RETURN(place.tls, PrepareTls(target, config.network, flags.out, place.run_id));
  }
  ASSIGN_OR_RETURN(const Draft draft, DraftOf(target, config, place));
  Show(flags, draft);
  if (!flags.out.empty()) RETURN_IF_ERROR(WriteLaunchFiles(draft.files, flags.out));
  std::cerr << "grpoctl: nothing was submitted"
            << (flags.out.empty() ? "; --out DIR writes the files" : "; the files are in ") << flags.out << "\n";
  return absl::OkStatus();
}

// Writes and submits. The run folder's lock is held until then: the job may begin at once, and it takes it.
absl::StatusOr<LaunchedJob> Submit(const LaunchFlags& flags, const LaunchTarget& target) {
  ASSIGN_OR_RETURN(PreparedRun prepared, PrepareRun(flags.selection));
  const std::string run_dir = prepared.folder->path();
  if (prepared.finished)
    return absl::AlreadyExistsError(absl::StrCat("the run in ", run_dir, " is finished: `grpoctl report --run-dir ",
                                                 run_dir, "` shows it; choose another folder with --run-dir DIR"));
  LaunchedJob job{.target = flags.on, .job = "", .submitted_at = "", .run_id = ""};
  ASSIGN_OR_RETURN(job.run_id, prepared.folder->RunId(prepared.config.config.run.name));
  LaunchPlace place = {.run_dir = run_dir,
                       .run_id = job.run_id,
                       .programs = {},
                       .grpoctl = "",
                       .resume = prepared.resume,
                       .tls = {},
                       .allow_other_device = flags.selection.allow_other_device};
  ASSIGN_OR_RETURN(place.tls, PrepareTls(target, prepared.config.config.network, run_dir, job.run_id));
  ASSIGN_OR_RETURN(const Draft draft, DraftOf(target, prepared.config.config, place));
  if (prepared.resume) RETURN_IF_ERROR(prepared.folder->Begin(prepared.config.resolved_yaml));
  RETURN_IF_ERROR(WriteLaunchFiles(draft.files, LaunchFolder(run_dir)));
  if (!flags.out.empty()) RETURN_IF_ERROR(WriteLaunchFiles(draft.files, flags.out));
  prepared.folder.reset();
  const absl::StatusOr<std::string> name = target.Submit(LaunchFolder(run_dir));
  if (!name.ok()) {
    return absl::Status(name.status().code(), absl::StrCat("nothing was submitted: ", name.status().message(),
                                                           "; once that is mended, `grpoctl "
                                                           "launch --on ",
                                                           flags.on, " --resume --run-dir ", run_dir, "`"));
  }
  job.job = *name;
  job.submitted_at = absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::FromTimeT(std::time(nullptr)), absl::UTCTimeZone());
  RETURN_IF_ERROR(WriteJob(run_dir, job));
  Show(flags, draft);
  return job;
}

void SayHowToGoOn(const LaunchedJob& job, const LaunchTarget& target, const std::string& run_dir) {
  const std::string where = absl::StrCat(" --on ", job.target, " --job ", job.job);
  std::cerr << "\nJob " << job.job << " of " << job.target << " is submitted.\n"
            << "  grpoctl watch" << where << "   # its progress; status, logs, pause, checkpoint alike\n"
            << "  grpoctl stop" << where << "   # save, and end for good\n"
            << "  grpoctl launch --on " << job.target << " --resume --run-dir " << run_dir << "   # go on after that\n";
  for (const std::string& hint : target.Hints(job.job)) std::cerr << "  " << hint << "\n";
}

absl::StatusOr<int> Launch(const LaunchFlags& flags) {
  ASSIGN_OR_RETURN(const std::unique_ptr<LaunchTarget> target, MakeLaunchTarget(flags.on));
  ASSIGN_OR_RETURN(const Chosen chosen, Choose(flags.selection));
  const LaunchPlace place = {.run_dir = chosen.run_dir,
                             .run_id = RunIdIn(chosen.run_dir, chosen.config.config.run.name),
                             .programs = {},
                             .grpoctl = "",
                             .resume = !chosen.is_new,
                             .tls = {},
                             .allow_other_device = flags.selection.allow_other_device};
  if (flags.dry_run) {
    RETURN_IF_ERROR(DryRun(flags, *target, chosen, place));
    return int{kExitOk};
  }
  // Before anything is touched: what is wrong with the configuration for this kind of cluster.
  RETURN_IF_ERROR(DraftOf(*target, chosen.config.config, place).status());
  RETURN_IF_ERROR(ExpectNoJob(chosen.run_dir));
  ASSIGN_OR_RETURN(const LaunchedJob job, Submit(flags, *target));
  SayHowToGoOn(job, *target, chosen.run_dir);
  if (!flags.follow) return int{kExitOk};
  ProgressPrinter printer(std::cerr, StyleFor(STDERR_FILENO), Clock::Real());
  return JobFollower(*target, job.job, chosen.run_dir, {}, &printer).Follow();
}

int LaunchVerb(LaunchFlags flags) {
  if (const absl::Status usable = CheckSelection(flags.selection); !usable.ok()) {
    std::cerr << "grpoctl: " << usable.message() << "\n";
    return kExitUsage;
  }
  if (!flags.selection.config.empty()) {
    absl::StatusOr<std::vector<std::string>> overrides =
        WithLaunchDefaults(flags.selection.config, flags.selection.overrides);
    if (!overrides.ok()) return Fail(overrides.status());
    flags.selection.overrides = *std::move(overrides);
  }
  const absl::StatusOr<int> exit_code = Launch(flags);
  return exit_code.ok() ? *exit_code : Fail(exit_code.status());
}

}  // namespace

void AddLaunchVerb(CLI::App& app, int* exit_code) {
  const auto flags = std::make_shared<LaunchFlags>();
  CLI::App* verb = AddSubcommand(
      app, "launch", "Submit a run to a cluster, as `launch` in its configuration says",
      "  grpoctl launch configs/quickstart.yaml --on slurm --dry-run\n"
      "  grpoctl launch configs/quickstart.yaml --on slurm --set launch.slurm.partition=gpu --follow\n"
      "  grpoctl launch --on slurm --resume --run-dir runs/quickstart",
      [flags] { return LaunchVerb(*flags); }, exit_code);
  AddRunSelection(*verb, &flags->selection);
  verb->add_option("--on", flags->on, "The kind of cluster")
      ->required()
      ->option_text(absl::StrJoin(LaunchTargetNames(), "|"));
  verb->add_flag("--dry-run", flags->dry_run, "Show what would be submitted; submit nothing");
  verb->add_option("--out", flags->out, "Write what is submitted into this folder, too")->option_text("DIR");
  verb->add_flag("--follow", flags->follow,
                 "Show the run's progress until its end, and end with its exit code; Ctrl-C ends only that");
  AddOutputOption(*verb, &flags->format);
}

}  // namespace grpo
