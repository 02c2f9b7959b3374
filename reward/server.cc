#include "reward/server.h"

#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/log.h"
#include "common/rpc/coordinator_place.h"
#include "common/rpc/endpoint.h"
#include "common/rpc/server.h"
#include "common/status_macros.h"
#include "common/stop_signal.h"
#include "common/text_page.h"
#include "configs/load.h"
#include "configs/network_options.h"
#include "reward/membership.h"
#include "reward/options.h"
#include "reward/profile.h"
#include "reward/sandbox.h"
#include "reward/service.h"

namespace grpo {
namespace {

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

// How often the configuration's file is looked at, and what has become of the membership.
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

absl::Status CheckSandbox(const RewardServerOptions& options) {
  const std::string lacking = SandboxShortfall();
  if (lacking.empty()) {
    spdlog::info("rules that are programs run in the whole sandbox");
    return absl::OkStatus();
  }
  if (options.sandbox == "required") {
    return absl::FailedPreconditionError(
        absl::StrCat("reward_server.sandbox is required, and this machine has ", lacking,
                     "; score on another machine, or set best_effort if you trust the programs"));
  }
  spdlog::warn("the sandbox of rules that are programs is not whole, this machine has {}", lacking);
  return absl::OkStatus();
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

// Null when the server belongs to no run.
absl::StatusOr<std::unique_ptr<Membership>> Join(const RewardServerArguments& arguments, const NetworkOptions& network,
                                                 const std::string& address, const RewardServiceImpl& service) {
  if (arguments.coordinator.empty()) return nullptr;
  ASSIGN_OR_RETURN(CoordinatorPlace place,
                   CoordinatorPlace::Parse(arguments.coordinator, network.ClientOptions(), "reward_server"));
  v1::RegisterRewardServerRequest request;
  request.set_run_id(arguments.run_id);
  request.set_name(arguments.name.empty() ? address : arguments.name);
  request.set_address(address);
  return Membership::Join(std::move(place), [request, &service] {
    v1::RegisterRewardServerRequest now = request;
    for (v1::RewardProfileRef& profile : service.Profiles()) *now.add_profiles() = std::move(profile);
    return now;
  });
}

absl::Status ServeUntilStopped(const std::string& path, RewardServiceImpl& service, Membership* membership) {
  // A file that cannot be read for a moment has not changed.
  std::string loaded = ReadFile(path).value_or("");
  while (!WaitForStop(kWatchInterval)) {
    if (membership != nullptr) {
      if (const std::optional<absl::Status> ended = membership->Look(); ended.has_value()) return *ended;
    }
    const std::string now = ReadFile(path).value_or(loaded);
    if (!reload_requested.exchange(false) && now == loaded) continue;
    loaded = now;
    Reload(path, service);
  }
  return absl::OkStatus();
}

}  // namespace

void RequestReload() {
  reload_requested = true;
}

absl::Status ServeRewards(const RewardServerArguments& arguments) {
  ASSIGN_OR_RETURN(const RewardServerConfig config, Load(arguments.config));
  RETURN_IF_ERROR(CheckSandbox(config.reward_server));
  ASSIGN_OR_RETURN(const std::unique_ptr<RewardServiceImpl> service,
                   RewardServiceImpl::Make(config.rewards, config.reward_server));
  const int64_t port = arguments.port >= 0 ? arguments.port : config.reward_server.port;
  ASSIGN_OR_RETURN(const std::unique_ptr<rpc::Server> server,
                   rpc::Server::Start(config.network.ServerOptions(port), {service.get()}));
  const std::string& host = arguments.advertise_host.empty() ? config.network.advertise_host : arguments.advertise_host;
  Endpoint endpoint = {.address = AdvertisedAddress(server->address(), host), .pid = ::getpid()};
  const int64_t metrics_port = arguments.metrics_port >= 0 ? arguments.metrics_port : config.reward_server.metrics_port;
  std::unique_ptr<TextPage> metrics;
  if (metrics_port >= 0) {
    ASSIGN_OR_RETURN(metrics, TextPage::Start(static_cast<int>(metrics_port), "/metrics",
                                              [&service] { return service->Metrics(); }));
    endpoint.metrics = metrics->address();
    spdlog::info("metrics at http://{}/metrics", metrics->address());
  }
  if (!arguments.endpoint_file.empty()) RETURN_IF_ERROR(WriteEndpoint(arguments.endpoint_file, endpoint));
  spdlog::info("scoring on {} with {} threads", endpoint.address, config.reward_server.threads);
  ASSIGN_OR_RETURN(std::unique_ptr<Membership> membership, Join(arguments, config.network, endpoint.address, *service));
  const absl::Status status = ServeUntilStopped(arguments.config, *service, membership.get());
  spdlog::info("stopping");
  // Workers go elsewhere before the server is gone.
  membership.reset();
  server->Shutdown(kDrain);
  return status;
}

}  // namespace grpo
