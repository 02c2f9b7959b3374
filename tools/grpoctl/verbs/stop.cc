// grpoctl stop: ends a run after its current step; it can be resumed.
#include <iostream>
#include <memory>
#include <optional>

#include "tools/grpoctl/client/control.h"
#include "tools/grpoctl/client/job.h"

namespace grpo {
namespace {

// Of a run that was launched, the cluster is asked where no trainer answers: it may stand in the queue.
int Stop(const ConnectionFlags& flags) {
  const int exit_code = Control(flags, &v1::TrainerService::Stub::Stop, v1::StopRequest());
  if (exit_code != kExitUnavailable || !flags.address.empty()) return exit_code;
  const absl::StatusOr<std::string> run_dir = ResolveRunDir(flags.run_dir);
  const std::optional<JobFlags> job = JobOf(flags.job, run_dir.value_or(""));
  if (!job.has_value()) return exit_code;
  std::cerr << "grpoctl: asking " << job->on << " to stop job " << job->job << "\n";
  const absl::Status stopped = StopJob(*job);
  if (!stopped.ok()) return Fail(stopped);
  std::cout << StateName(v1::RUN_STATE_STOPPING) << std::endl;
  return kExitOk;
}

}  // namespace

void AddStopVerb(CLI::App& app, int* exit_code) {
  const auto flags = std::make_shared<ConnectionFlags>();
  CLI::App* verb = AddSubcommand(
      app, "stop", "End a run after its current step, with a checkpoint",
      "  grpoctl stop\n"
      "  grpoctl stop --run-dir runs/quickstart\n"
      "  grpoctl stop --on slurm --job 42",
      [flags] { return Stop(*flags); }, exit_code);
  AddConnectionFlags(*verb, flags.get());
}

}  // namespace grpo
