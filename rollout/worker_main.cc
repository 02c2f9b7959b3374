// rollout_worker: the process that samples. Flags, configuration, object, run.
#include <string>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "common/exit_codes.h"
#include "common/log.h"
#include "common/rpc/coordinator_place.h"
#include "common/status_macros.h"
#include "common/stop_signal.h"
#include "common/thread.h"
#include "model/device.h"
#include "model/threads.h"
#include "rollout/generator.h"
#include "rollout/run_worker.h"
#include "rollout/worker_config.h"

namespace grpo {
namespace {

struct Flags {
  std::string config, coordinator, tls_dir;
  bool with_parent = false;
  WorkerOptions worker;
};

void Declare(CLI::App& app, Flags& flags) {
  app.add_option("--config", flags.config,
                 "Resolved configuration of the run; the worker reads `rollout_worker`, `network` and `policies`");
  app.add_option(
         "--coordinator", flags.coordinator,
         "Where the trainer is, which names the reward servers: HOST:PORT, or the path of the run's folder or of "
         "its endpoint.json, followed wherever the trainer is started next. It is waited for, however long.")
      ->required();
  app.add_option("--tls-dir", flags.tls_dir,
                 "Folder of the run's own certificates (ca.pem, worker.pem, worker.key), in place of network.tls_*")
      ->needs("--config");
  app.add_option("--run-id", flags.worker.identity.run_id, "Run to join; empty joins the one that is served");
  app.add_option("--name", flags.worker.identity.worker_name, "Name of this worker, stable over restarts")
      ->default_val("rollout-0");
  app.add_option("--attempt", flags.worker.identity.worker_attempt, "Counts the starts of this worker")->default_val(1);
  app.add_flag("--with-parent", flags.with_parent, "Die when the parent process dies");
}

// Makes what the configuration names ready. Sampling asks for the same bits each time of its own kernels
// (docs/design.md law 5), so what ATen is asked for does not depend on an option.
absl::StatusOr<c10::Device> PrepareDevice(const RolloutOptions& rollout) {
  ASSIGN_OR_RETURN(const int local_rank, LocalRank());
  absl::StatusOr<c10::Device> device = ResolveDevice(rollout.device, local_rank);
  if (!device.ok()) return Annotate(device.status(), "rollout_worker.device");
  RETURN_IF_ERROR(UseDevice(*device, /*deterministic=*/true));
  spdlog::info("samples on {}", DeviceText(*device));
  return device;
}

absl::Status Run(Flags& flags) {
  if (!flags.config.empty()) RETURN_IF_ERROR(LoadWorkerConfig(flags.config, flags.worker, flags.tls_dir));
  flags.worker.make_generator = MakeDefaultGenerator;
  RETURN_IF_ERROR(UseThreads(flags.worker.rollout.threads));
  ASSIGN_OR_RETURN(flags.worker.device, PrepareDevice(flags.worker.rollout));
  ASSIGN_OR_RETURN(const CoordinatorPlace place,
                   CoordinatorPlace::Parse(flags.coordinator, flags.worker.client, "worker"));
  return RunWorker(place, WaitForStop, std::move(flags.worker));
}

int Main(int argc, char** argv) {
  Flags flags;
  CLI::App app(
      "Samples completions for a run: leases groups from the trainer, has them scored by a reward server, hands them "
      "in.");
  Declare(app, flags);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  InitLogging(flags.worker.identity.worker_name);
  InstallStopSignal({.die_with_parent = flags.with_parent});
  const absl::Status status = Run(flags);
  if (absl::IsAborted(status)) {
    spdlog::info("{}", std::string(status.message()));
  } else if (!status.ok()) {
    spdlog::error("{}", std::string(status.message()));
  }
  return ExitCodeFor(status, kExitConfig);
}

}  // namespace
}  // namespace grpo

int main(int argc, char** argv) {
  return grpo::Guarded("the rollout worker", [&] { return grpo::Main(argc, argv); });
}
