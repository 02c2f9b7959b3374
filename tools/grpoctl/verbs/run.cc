// grpoctl run: every stage of a configuration, on this machine.
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/exit_codes.h"
#include "common/status_macros.h"
#include "common/stop_signal.h"
#include "tools/grpoctl/local/local_run.h"
#include "tools/grpoctl/local/prepare.h"
#include "tools/grpoctl/records/closing.h"
#include "tools/grpoctl/verb.h"
#include "tools/launch/gpus.h"
#include "tools/launch/places.h"
#include "tools/launch/run_certificates.h"
#include "tools/launch/run_plan.h"
#include "tools/launch/starters.h"
#include "trainer/run_config.h"

namespace grpo {
namespace {

struct RunFlags {
  RunSelection selection;
  int max_restarts = 10;
  // Of a launcher that calls this on the first of its machines: their names, where they reach each other, and what
  // starts processes on them (tools/launch/starters.h).
  std::vector<std::string> hosts, addresses;
  std::string start_with;
};

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

// How this grpoctl calls the run's trainer. Where the run is to have certificates of its own, they are there then, and
// name the machines under which its servers are reached.
absl::StatusOr<rpc::ClientOptions> PrepareClient(NetworkOptions network, const PlanRequest& request) {
  if (!NeedsRunCertificates(network)) return network.ClientOptions();
  std::vector<std::string> hosts = OwnHosts(network);
  hosts.insert(hosts.end(), request.hosts.begin(), request.hosts.end());
  hosts.insert(hosts.end(), request.addresses.begin(), request.addresses.end());
  RETURN_IF_ERROR(MakeRunCertificates({.run_dir = request.run_dir, .run_id = request.run_id, .hosts = hosts}));
  network.UseRunCertificates(RunCertificateFolder(request.run_dir), "operator");
  return network.ClientOptions();
}

// The plan's request: of this machine, or of those that a launcher names.
absl::StatusOr<PlanRequest> RequestOf(const RunFlags& flags, const PreparedRun& prepared) {
  PlanRequest request{.run_dir = prepared.folder->path(), .run_id = "", .programs = {}, .resume = prepared.resume};
  request.allow_other_device = flags.selection.allow_other_device;
  ASSIGN_OR_RETURN(request.programs, FindPrograms());
  ASSIGN_OR_RETURN(request.run_id, prepared.folder->RunId(prepared.config.config.run.name));
  if (flags.hosts.empty()) {
    request.gpus = VisibleGpus();
    return request;
  }
  request.hosts = flags.hosts;
  request.addresses = flags.addresses;
  ASSIGN_OR_RETURN(request.starters, ReadStarters(flags.start_with));
  ASSIGN_OR_RETURN(const Places places, PlacesOf(prepared.config.config));
  request.places = places.roles;
  return request;
}

absl::StatusOr<int> Execute(const RunFlags& flags, PreparedRun& prepared) {
  const RunConfig& config = prepared.config.config;
  ASSIGN_OR_RETURN(const PlanRequest request, RequestOf(flags, prepared));
  ASSIGN_OR_RETURN(const RunPlan plan, MakeRunPlan(config, request));
  ASSIGN_OR_RETURN(const rpc::ClientOptions client, PrepareClient(config.network, request));
  // A newer build resolves more keys than the one that began, and the run's processes compare the file's hash.
  if (prepared.resume) RETURN_IF_ERROR(prepared.folder->Begin(prepared.config.resolved_yaml));
  // No descriptor passes through a starter: rank 0 takes the lock itself, as it does under any other launcher.
  if (!flags.hosts.empty()) prepared.folder.reset();
  ProgressPrinter printer(std::cerr, StyleFor(STDERR_FILENO), Clock::Real());
  printer.Note(absl::StrCat("run ", plan.run_id, " in ", plan.run_dir));
  const absl::Duration stop_within = absl::Seconds(config.trainer.stop_within_s);
  SetStopBound(stop_within + LocalRun::kStopSlack);
  return LocalRun(plan,
                  {.max_restarts_per_role = flags.max_restarts,
                   .stop_within = stop_within,
                   .client = client,
                   .lock_fd = prepared.folder == nullptr ? -1 : prepared.folder->lock_fd()},
                  &printer)
      .Run();
}

int Run(const RunFlags& flags) {
  if (const absl::Status usable = CheckSelection(flags.selection); !usable.ok()) {
    std::cerr << "grpoctl: " << usable.message() << "\n";
    return kExitUsage;
  }
  InstallStopSignal();
  absl::StatusOr<PreparedRun> prepared = PrepareRun(flags.selection);
  if (!prepared.ok()) return Fail(prepared.status());
  const std::string run_dir = prepared->folder->path();
  if (prepared->finished) {
    std::cerr << "This run is finished. To start afresh, delete " << run_dir
              << " or choose another folder with --run-dir DIR.\n\n";
    return ShowReport(run_dir, prepared->config.config);
  }
  const absl::StatusOr<int> exit_code = Execute(flags, *prepared);
  if (!exit_code.ok()) return Fail(exit_code.status());
  if (*exit_code == kExitOk && IsFinished(run_dir, prepared->config.config))
    return ShowReport(run_dir, prepared->config.config);
  // `grpoctl stop` ends the trainer with 0, a signal with 75.
  const bool stopped = *exit_code == kExitOk || *exit_code == kExitRetry;
  if (stopped) {
    std::cerr << "The run was stopped; go on with " << ResumeHint(flags.selection, run_dir) << ".";
  } else {
    std::cerr << "The run failed; once the cause is mended, go on with " << ResumeHint(flags.selection, run_dir)
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
  AddRunSelection(*verb, &flags->selection);
  verb->add_option("--max-restarts", flags->max_restarts,
                   "Restarts of each role (trainer, reward servers, rollout workers) before the run fails")
      ->capture_default_str()
      ->check(CLI::Range(0, 1000000))
      ->option_text("N");
  CLI::Option* hosts =
      verb->add_option("--hosts", flags->hosts,
                       "For launchers: machines of the run, this one first; launch.<role> says who runs where")
          ->delimiter(',')
          ->allow_extra_args(false)
          ->option_text("NAME,NAME");
  verb->add_option("--addresses", flags->addresses, "For launchers: where each of the hosts is reached")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->needs(hosts)
      ->option_text("HOST,HOST");
  CLI::Option* start_with =
      verb->add_option("--start-with", flags->start_with,
                       "For launchers: JSON file that says what starts processes on the hosts, by role")
          ->option_text("FILE");
  hosts->needs(start_with);
  start_with->needs(hosts);
}

}  // namespace grpo
