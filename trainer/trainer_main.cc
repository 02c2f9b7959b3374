// The process that learns. Usually started by `grpoctl run`.
#include <ATen/Parallel.h>

#include "CLI/CLI.hpp"
#include "common/exit_codes.h"
#include "common/log.h"
#include "common/stop_signal.h"
#include "trainer/run.h"

int main(int argc, char** argv) {
  CLI::App app("Trains policies as a run configuration says, and serves Coordinator and TrainerService.");
  std::string config_path;
  bool with_parent = false;
  grpo::RunArguments arguments;
  app.add_option("--config", config_path, "Run configuration (YAML)")->required();
  app.add_option("--run-dir", arguments.run_dir, "Folder for checkpoints, metrics and results")->required();
  app.add_option("--run-id", arguments.run_id, "Names this run to workers")->required();
  app.add_option("--endpoint-file", arguments.endpoint_file, "Where to write the address once the services answer");
  app.add_option("--port", arguments.port, "Port to serve on in place of network.trainer_port");
  app.add_flag("--resume", arguments.resume, "Go on from the newest checkpoint in --run-dir");
  app.add_flag("--with-parent", with_parent, "Die with the parent process");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? grpo::kExitOk : grpo::kExitUsage;
  }
  grpo::InitLogging("trainer");
  grpo::InstallStopSignal(with_parent);
  absl::StatusOr<grpo::LoadedConfig> config = grpo::LoadRunConfig(config_path);
  if (!config.ok()) {
    spdlog::error("{}", std::string(config.status().message()));
    return grpo::ExitCodeFor(config.status(), grpo::kExitConfig);
  }
  arguments.config = *std::move(config);
  at::set_num_threads(static_cast<int>(arguments.config.config.trainer.threads));
  return grpo::ExitCodeFor(grpo::ExecuteRun(std::move(arguments)));
}
