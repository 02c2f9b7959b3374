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
  const bool apart = config.launch.slurm.heterogeneous;
  Places places;
  for (const RoleCount& role : RolesOf(config))
    places.num_hosts = apart ? places.num_hosts + role.Nodes() : std::max(places.num_hosts, role.Nodes());
  int64_t next = 0;
  for (const RoleCount& role : RolesOf(config)) {
    ASSIGN_OR_RETURN(const int64_t per_host, ProcessesPerHost(role));
    places.roles[std::string(RoleName(role.role))] = {.first = next % places.num_hosts, .per_host = per_host};
    next += apart ? role.Nodes() : NumHostsFor(role.count, per_host);
  }
  return places;
}

}  // namespace grpo
