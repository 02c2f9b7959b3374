// The reward server's process: flags, configuration, service, serve until SIGTERM. SIGHUP, or a change of the
// configuration's file, loads its reward profiles anew.
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "common/exit_codes.h"
#include "common/files.h"
#include "common/log.h"
#include "common/malloc_arenas.h"
#include "common/rpc/server.h"
#include "common/status_macros.h"
#include "common/stop_signal.h"
#include "common/text_page.h"
#include "configs/load.h"
#include "configs/network_options.h"
#include "nlohmann/json.hpp"
#include "reward/options.h"
#include "reward/profile.h"
#include "reward/service.h"

namespace grpo {
namespace {

struct Flags {
  std::string config;
  // -1: the configuration's.
  int64_t port = -1, metrics_port = -1;
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

std::atomic<bool> reload_requested{false};

// How often the configuration's file is looked at.
constexpr absl::Duration kWatchInterval = absl::Seconds(1);
// Calls in flight when the server stops get so long to end; grpoctl run waits a little longer.
constexpr absl::Duration kDrain = absl::Seconds(4);

absl::StatusOr<RewardServerConfig> Load(const std::string& path) {
  ASSIGN_OR_RETURN(const Section section, ParseConfigFile(path));
  RewardServerConfig config;
  RETURN_IF_ERROR(LoadOptions(section, &config));
  ResolveRewardPaths(std::filesystem::path(path).parent_path().string(), &config.rewards);
  return config;
}

void Reload(const std::string& path, RewardServiceImpl& service) {
  const absl::StatusOr<RewardServerConfig> config = Load(path);
  const absl::Status loaded = config.ok() ? service.Reload(config->rewards) : config.status();
  if (loaded.ok()) {
    spdlog::info("loaded the reward profiles of {} anew", path);
  } else {
    spdlog::error("the reward profiles stay as they are, the new ones do not load: {}", std::string(loaded.message()));
  }
}

void ServeUntilStopped(const std::string& path, RewardServiceImpl& service) {
  // A file that cannot be read for a moment has not changed.
  std::string loaded = ReadFile(path).value_or("");
  while (!WaitForStop(kWatchInterval)) {
    const std::string now = ReadFile(path).value_or(loaded);
    if (!reload_requested.exchange(false) && now == loaded) continue;
    loaded = now;
    Reload(path, service);
  }
}

absl::Status Serve(const Flags& flags) {
  ASSIGN_OR_RETURN(const RewardServerConfig config, Load(flags.config));
  ASSIGN_OR_RETURN(const std::unique_ptr<RewardServiceImpl> service,
                   RewardServiceImpl::Make(config.rewards, config.reward_server));
  const int64_t port = flags.port >= 0 ? flags.port : config.reward_server.port;
  ASSIGN_OR_RETURN(const std::unique_ptr<rpc::Server> server,
                   rpc::Server::Start(config.network.ServerOptions(port), {service.get()}));
  nlohmann::json endpoint = {{"address", server->address()}, {"pid", getpid()}};
  const int64_t metrics_port = flags.metrics_port >= 0 ? flags.metrics_port : config.reward_server.metrics_port;
  std::unique_ptr<TextPage> metrics;
  if (metrics_port >= 0) {
    ASSIGN_OR_RETURN(metrics, TextPage::Start(static_cast<int>(metrics_port), "/metrics",
                                              [&service] { return service->Metrics(); }));
    endpoint["metrics"] = metrics->address();
    spdlog::info("metrics at http://{}/metrics", metrics->address());
  }
  if (!flags.endpoint_file.empty()) {
    RETURN_IF_ERROR(WriteFileAtomically(flags.endpoint_file, endpoint.dump() + "\n"));
  }
  spdlog::info("scoring on {} with {} threads", server->address(), config.reward_server.threads);
  ServeUntilStopped(flags.config, *service);
  spdlog::info("stopping");
  server->Shutdown(kDrain);
  return absl::OkStatus();
}

}  // namespace
}  // namespace grpo

int main(int argc, char** argv) {
  grpo::LimitMallocArenas();
  grpo::Flags flags;
  CLI::App app("Scores completions by the reward profiles of a run's configuration.");
  app.add_option("--config", flags.config,
                 "The run's configuration (YAML); `rewards`, `reward_server` and `network` are read.")
      ->required();
  app.add_option("--port", flags.port, "Port instead of the configuration's; 0 lets the system choose.")
      ->check(CLI::Range(0, 65535));
  app.add_option("--metrics-port", flags.metrics_port, "Metrics port instead of the configuration's.")
      ->check(CLI::Range(0, 65535));
  app.add_option("--endpoint-file", flags.endpoint_file,
                 "File to write {\"address\", \"pid\", \"metrics\"?} to once calls are answered.");
  app.add_flag("--with-parent", flags.with_parent, "End when the process that started this one ends.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? grpo::kExitOk : grpo::kExitUsage;
  }
  grpo::InitLogging("reward_server");
  grpo::InstallStopSignal(flags.with_parent);
  // Without SA_RESTART, so that it ends the wait for a stop.
  struct sigaction action = {};
  action.sa_handler = [](int) { grpo::reload_requested = true; };
  ::sigaction(SIGHUP, &action, nullptr);
  const absl::Status status = grpo::Serve(flags);
  if (!status.ok()) spdlog::error("{}", std::string(status.message()));
  return grpo::ExitCodeFor(status);
}
