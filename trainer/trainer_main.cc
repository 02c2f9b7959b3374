// The process that learns. Usually started by `grpoctl run`.
#include <filesystem>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "common/exit_codes.h"
#include "common/files.h"
#include "common/log.h"
#include "common/status_macros.h"
#include "common/stop_signal.h"
#include "common/thread.h"
#include "model/device.h"
#include "model/threads.h"
#include "trainer/dist/agreement.h"
#include "trainer/dist/collectives.h"
#include "trainer/ranks.h"
#include "trainer/run.h"

namespace grpo {
namespace {

// Makes what this rank computes on ready.
absl::StatusOr<c10::Device> PrepareDevice(const TrainerOptions& options, int local_rank) {
  absl::StatusOr<c10::Device> device = ResolveDevice(options.device, local_rank);
  if (!device.ok()) return Annotate(device.status(), "trainer.device");
  RETURN_IF_ERROR(UseDevice(*device, options.deterministic));
  spdlog::info("computes on {}", DeviceText(*device));
  return device;
}

// One of the trainer's ranks, from its start to its end. `lock_fd`: RunGuard::Entry's.
absl::Status RunRank(const RankEnvironment& environment, RunArguments arguments, int lock_fd) {
  const RunConfig& config = arguments.config.config;
  // torchrun starts all ranks again with the same command line.
  if (environment.restart_count > 0) arguments.resume = true;
  ASSIGN_OR_RETURN(arguments.device, PrepareDevice(config.trainer, environment.local_rank));
  // Before anything is touched or anybody waited for. The others write nothing.
  if (environment.rank == 0) {
    ASSIGN_OR_RETURN(arguments.guard, RunGuard::Enter({.run_dir = arguments.run_dir,
                                                       .run_id = arguments.run_id,
                                                       .resolved_yaml = arguments.config.resolved_yaml,
                                                       .lock_fd = lock_fd,
                                                       .resume = arguments.resume}));
  }
  ASSIGN_OR_RETURN(
      const auto collectives,
      Collectives::Connect(environment, {.timeout = absl::Seconds(config.trainer.collective_timeout_s),
                                         .start_timeout = absl::Seconds(config.trainer.rendezvous_timeout_s),
                                         .private_interface = config.network.private_interface,
                                         .device = arguments.device}));
  RETURN_IF_ERROR(ExpectSameConfiguration(*collectives, arguments.config.sha256, DeviceName(arguments.device)));
  // Before, there is nothing to save.
  SetStopBound(absl::Seconds(config.trainer.stop_within_s));
  if (environment.rank > 0) return FollowRankZero(*collectives, config, arguments.device);
  return ExecuteRun(std::move(arguments), collectives.get());
}

int Main(int argc, char** argv) {
  CLI::App app(
      "Trains policies as a run configuration says, and serves Coordinator and TrainerService. One process is one "
      "rank; several find each other by RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, as torchrun sets them.");
  std::string config_path;
  bool with_parent = false;
  int lock_fd = -1;
  std::string tls_dir;
  RunArguments arguments;
  app.add_option("--config", config_path, "Run configuration (YAML)")->required();
  app.add_option("--run-dir", arguments.run_dir, "Folder for checkpoints, metrics and results, and for endpoint.json")
      ->required();
  app.add_option("--run-id", arguments.run_id, "Names this run to workers")->required();
  app.add_option("--advertise-host", arguments.advertise_host,
                 "Host under which others reach this one, in place of network.advertise_host");
  app.add_option("--tls-dir", tls_dir,
                 "Folder of the run's own certificates, in place of network.tls_*; rank 0 renews them there");
  app.add_option("--port", arguments.port, "Port to serve on in place of network.trainer_port");
  app.add_flag("--resume", arguments.resume,
               "Go on from the newest checkpoint in --run-dir; without it a folder that holds a run is refused");
  app.add_flag("--allow-other-device", arguments.allow_other_device,
               "With --resume: go on although the checkpoint was saved on another kind of device (cpu, cuda)");
  app.add_option("--lock-fd", lock_fd,
                 "Descriptor of the lock of --run-dir, from a parent that holds it; -1: rank 0 takes the lock itself");
  app.add_flag("--with-parent", with_parent, "Die with the parent process");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  const absl::StatusOr<RankEnvironment> environment = ReadRankEnvironment();
  InitLogging(environment.ok() && environment->world_size > 1 ? absl::StrCat("trainer-", environment->rank)
                                                              : "trainer");
  InstallStopSignal({.die_with_parent = with_parent});
  absl::StatusOr<LoadedConfig> config = LoadRunConfig(config_path);
  const absl::Status usable = environment.ok() ? config.status() : environment.status();
  if (!usable.ok()) {
    spdlog::error("{}", std::string(usable.message()));
    return ExitCodeFor(usable, kExitConfig);
  }
  arguments.config = *std::move(config);
  if (!tls_dir.empty())
    arguments.config.config.network.UseRunCertificates(std::filesystem::absolute(tls_dir).string(), "trainer");
  absl::Status status = UseThreads(arguments.config.config.trainer.threads);
  if (status.ok()) status = CheckUtf8Path("--run-dir", arguments.run_dir);
  if (status.ok()) status = RunRank(*environment, std::move(arguments), lock_fd);
  if (!status.ok()) spdlog::error("{}", std::string(status.message()));
  return ExitCodeFor(status);
}

}  // namespace
}  // namespace grpo

int main(int argc, char** argv) {
  return grpo::Guarded("the trainer", [&] { return grpo::Main(argc, argv); });
}
