// The reward server's process: flags, configuration, service, serve until SIGTERM.
#include <unistd.h>

#include <map>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "common/exit_codes.h"
#include "common/files.h"
#include "common/log.h"
#include "common/rpc/server.h"
#include "common/status_macros.h"
#include "common/stop_signal.h"
#include "configs/load.h"
#include "configs/network_options.h"
#include "nlohmann/json.hpp"
#include "reward/options.h"
#include "reward/service.h"

namespace grpo {
namespace {

struct Flags {
  std::string config;
  // -1: the configuration's.
  int64_t port = -1;
  std::string endpoint_file;
  bool with_parent = false;
};

// The part of a run's configuration that this process reads.
struct RewardServerConfig {
  NetworkOptions network;
  RewardServerOptions reward_server;
  std::map<std::string, RewardProfileOptions> rewards;
  // The other processes' keys; they check them.
  Section others;

  template <class V>
  void Visit(V& v) {
    v("network", network, {.help = "Addresses, tokens, TLS."});
    v("reward_server", reward_server, {.help = "The processes that score."});
    v("rewards", rewards, {.help = "Named reward profiles.", .required = true});
    v.Rest(others);
  }
};

absl::Status Serve(const Flags& flags) {
  ASSIGN_OR_RETURN(const Section section, ParseConfigFile(flags.config));
  RewardServerConfig config;
  RETURN_IF_ERROR(LoadOptions(section, &config));
  ASSIGN_OR_RETURN(const std::unique_ptr<RewardServiceImpl> service,
                   RewardServiceImpl::Make(config.rewards, config.reward_server.threads));
  const int64_t port = flags.port >= 0 ? flags.port : config.reward_server.port;
  ASSIGN_OR_RETURN(const std::unique_ptr<rpc::Server> server,
                   rpc::Server::Start(config.network.ServerOptions(port), {service.get()}));
  if (!flags.endpoint_file.empty()) {
    const nlohmann::json endpoint = {{"address", server->address()}, {"pid", getpid()}};
    RETURN_IF_ERROR(WriteFileAtomically(flags.endpoint_file, endpoint.dump() + "\n"));
  }
  spdlog::info("scoring on {} with {} threads", server->address(), config.reward_server.threads);
  while (!WaitForStop(absl::Hours(1))) {
  }
  spdlog::info("stopping");
  server->Shutdown();
  return absl::OkStatus();
}

}  // namespace
}  // namespace grpo

int main(int argc, char** argv) {
  grpo::Flags flags;
  CLI::App app("Scores completions by the reward profiles of a run's configuration.");
  app.add_option("--config", flags.config,
                 "The run's configuration (YAML); `rewards`, `reward_server` and `network` are read.")
      ->required();
  app.add_option("--port", flags.port, "Port instead of the configuration's; 0 lets the system choose.")
      ->check(CLI::Range(0, 65535));
  app.add_option("--endpoint-file", flags.endpoint_file,
                 "File to write {\"address\", \"pid\"} to once calls are answered.");
  app.add_flag("--with-parent", flags.with_parent, "End when the process that started this one ends.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? grpo::kExitOk : grpo::kExitUsage;
  }
  grpo::InitLogging("reward_server");
  grpo::InstallStopSignal(flags.with_parent);
  const absl::Status status = grpo::Serve(flags);
  if (!status.ok()) spdlog::error("{}", std::string(status.message()));
  return grpo::ExitCodeFor(status);
}
