// Which of a run's machines have which of its processes, by the configuration's `launch`. Pure; any thread. No torch.
#ifndef GRPO_TOOLS_LAUNCH_PLACES_H_
#define GRPO_TOOLS_LAUNCH_PLACES_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "configs/launch_options.h"
#include "tools/launch/restart_rules.h"
#include "trainer/run_config.h"

namespace grpo {

// A role of which a cluster is asked for machines, and how many processes it has; all ranks of the trainer are one.
struct RoleCount {
  Role role = Role::kTrainer;
  // `launch.<role>`; the configuration's.
  const LaunchRoleOptions* options = nullptr;
  int64_t count = 0;
  // Machines that are asked for it.
  int64_t Nodes() const { return count == 0 ? 0 : options->nodes; }
};
// In the order trainer, rollout_worker, reward_server. `config` outlives it.
std::vector<RoleCount> RolesOf(const RunConfig& config);

// A role's processes are in blocks of `per_host` on the hosts from number `first` on, after the last on the first again.
// 0 of them: where MakeRunPlan puts them without launch.<role>.
struct RoleHosts {
  int64_t first = 0, per_host = 0;
};

// Hosts that so many processes take; 0 for none.
int64_t NumHostsFor(int64_t count, int64_t per_host);
// How many of a role's processes are on each of its hosts: launch.<role>.processes_per_node, or as many as it takes.
// InvalidArgument, naming the keys, when the nodes do not hold all of them.
absl::StatusOr<int64_t> ProcessesPerHost(const RoleCount& role);

// Of all roles.
struct Places {
  // By RoleName.
  std::map<std::string, RoleHosts> roles;
  // Hosts that they take together.
  int64_t num_hosts = 0;
};
// Roles share as many machines as launch.<role>.nodes says of any of them, each role beginning after the last of the one
// before, the trainer on the first. With launch.slurm.heterogeneous each has machines of its own. Both in RolesOf's
// order. Errors as ProcessesPerHost.
absl::StatusOr<Places> PlacesOf(const RunConfig& config);

}  // namespace grpo

#endif  // GRPO_TOOLS_LAUNCH_PLACES_H_
