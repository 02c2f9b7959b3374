// The reward server's process. It does about signals what common/stop_signal.h says, but SIGHUP, also under nohup, loads
// its reward profiles anew: a server that belongs to a run ends with its supervisor (--with-parent).
#include <signal.h>

#include <string>

#include "CLI/CLI.hpp"
#include "common/exit_codes.h"
#include "common/log.h"
#include "common/malloc_arenas.h"
#include "common/stop_signal.h"
#include "common/thread.h"
#include "reward/server.h"

namespace grpo {
namespace {

int Main(int argc, char** argv) {
  RewardServerArguments arguments;
  bool with_parent = false;
  CLI::App app("Scores completions by the reward profiles of a run's configuration.");
  app.add_option("--config", arguments.config,
                 "The run's configuration (YAML); `rewards`, `reward_server` and `network` are read.")
      ->required();
  app.add_option("--port", arguments.port, "Port instead of the configuration's; 0 lets the system choose.")
      ->check(CLI::Range(0, 65535));
  app.add_option("--metrics-port", arguments.metrics_port, "Metrics port instead of the configuration's.")
      ->check(CLI::Range(0, 65535));
  app.add_option("--advertise-host", arguments.advertise_host,
                 "Host under which others reach this one, in place of network.advertise_host.");
  app.add_option("--endpoint-file", arguments.endpoint_file,
                 "File to write {\"address\", \"pid\", \"metrics\"?} to once calls are answered.");
  app.add_option(
      "--coordinator", arguments.coordinator,
      "Where the trainer is whose workers are to be served: HOST:PORT, or the path of the run's folder or of its "
      "endpoint.json, followed wherever the trainer is started next. It is waited for, however long, and the "
      "server ends with its run. Without it the server belongs to no run.");
  app.add_option("--run-id", arguments.run_id, "Run to join; without it the one that is served.");
  app.add_option("--name", arguments.name,
                 "Name of this server in the run, stable over restarts (default: HOST:PORT).");
  app.add_flag("--with-parent", with_parent, "End when the process that started this one ends.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  InitLogging("reward_server");
  InstallStopSignal({.die_with_parent = with_parent, .hang_up_stops = false});
  // Without SA_RESTART, so that it ends the wait for a stop.
  struct sigaction action = {};
  action.sa_handler = [](int) { RequestReload(); };
  ::sigaction(SIGHUP, &action, nullptr);
  const absl::Status status = ServeRewards(arguments);
  if (!status.ok()) spdlog::error("{}", std::string(status.message()));
  return ExitCodeFor(status, kExitConfig);
}

}  // namespace
}  // namespace grpo

int main(int argc, char** argv) {
  grpo::LimitMallocArenas();
  return grpo::Guarded("the reward server", [&] { return grpo::Main(argc, argv); });
}
