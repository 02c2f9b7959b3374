#include "rollout/worker_config.h"

#include <filesystem>
#include <map>

#include "common/files.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "configs/load.h"
#include "configs/network_options.h"
#include "model/options.h"

namespace grpo {
namespace {

struct WorkerConfig {
  RolloutOptions rollout_worker;
  NetworkOptions network;
  std::map<std::string, PolicyOptions> policies;
  Section others;

  template <class V>
  void Visit(V& v) {
    v("rollout_worker", rollout_worker, {.help = "The processes that sample."});
    v("network", network, {.help = "Addresses, tokens, TLS."});
    v("policies", policies, {.help = "Named weights and addresses."});
    v.Rest(others);
  }
};

}  // namespace

absl::Status LoadWorkerConfig(const std::string& path, WorkerOptions& options, const std::string& tls_dir) {
  ASSIGN_OR_RETURN(const std::string content, ReadFile(path));
  ASSIGN_OR_RETURN(const Section section, ParseConfigText(content, path));
  WorkerConfig config;
  RETURN_IF_ERROR(LoadOptions(section, &config));
  options.identity.config_sha256 = Sha256Hex(content);
  options.rollout = config.rollout_worker;
  if (!tls_dir.empty()) config.network.UseRunCertificates(tls_dir, "worker");
  options.client = config.network.ClientOptions();
  for (const auto& [name, policy] : config.policies) {
    if (policy.endpoint.given()) options.endpoints.endpoints[name] = policy.endpoint;
  }
  options.endpoints.answers_folder = (std::filesystem::path(path).parent_path() / "answers").string();
  return absl::OkStatus();
}

}  // namespace grpo
