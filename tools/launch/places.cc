#include "tools/launch/places.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace grpo {

std::vector<RoleCount> RolesOf(const RunConfig& config) {
  return {{Role::kTrainer, &config.launch.trainer, config.trainer.ranks},
          {Role::kRolloutWorker, &config.launch.rollout_worker, config.NumWorkers()},
          {Role::kRewardServer, &config.launch.reward_server, config.NumRewardServers()}};
}

int64_t NumHostsFor(int64_t count, int64_t per_host) {
  return per_host == 0 ? 0 : (count + per_host - 1) / per_host;
}

absl::StatusOr<int64_t> ProcessesPerHost(const RoleCount& role) {
  const LaunchRoleOptions& options = *role.options;
  if (options.processes_per_node == 0) return NumHostsFor(role.count, options.nodes);
  if (NumHostsFor(role.count, options.processes_per_node) <= options.nodes) return options.processes_per_node;
  return absl::InvalidArgumentError(absl::StrCat("launch.", RoleName(role.role), ": ", options.nodes,
                                                 " nodes with at most ", options.processes_per_node,
                                                 " processes each do not hold the ", role.count,
                                                 " that the configuration has: raise nodes or processes_per_node"));
}

absl::StatusOr<Places> PlacesOf(const RunConfig& config) {
  Places places;
  for (const RoleCount& role : RolesOf(config)) {
    ASSIGN_OR_RETURN(const int64_t per_host, ProcessesPerHost(role));
    const int64_t first = config.launch.slurm.heterogeneous ? places.num_hosts : 0;
    places.roles[std::string(RoleName(role.role))] = {.first = first, .per_host = per_host};
    places.num_hosts = std::max(places.num_hosts, first + NumHostsFor(role.count, per_host));
  }
  return places;
}

}  // namespace grpo
