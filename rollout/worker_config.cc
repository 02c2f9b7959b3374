#include "rollout/worker_config.h"

#include "common/files.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "configs/load.h"
#include "configs/network_options.h"

namespace grpo {
namespace {

struct WorkerConfig {
  RolloutOptions rollout_worker;
  NetworkOptions network;
  Section others;

  template <class V>
  void Visit(V& v) {
    v("rollout_worker", rollout_worker, {.help = "The processes that sample."});
    v("network", network, {.help = "Addresses, tokens, TLS."});
    v.Rest(others);
  }
};

}  // namespace

absl::Status LoadWorkerConfig(const std::string& path, WorkerOptions& options) {
  ASSIGN_OR_RETURN(const std::string content, ReadFile(path));
  ASSIGN_OR_RETURN(const Section section, ParseConfigText(content, path));
  WorkerConfig config;
  RETURN_IF_ERROR(LoadOptions(section, &config));
  options.identity.config_sha256 = Sha256Hex(content);
  options.rollout = config.rollout_worker;
  options.client = config.network.ClientOptions();
  return absl::OkStatus();
}

}  // namespace grpo
