// The pods of a run on Kubernetes: one kind a role, each made of the commands that the plan has. Pure; any thread.
//
//   role      Jobs                  pods of each             processes of a pod         its folder in the claim
//   trainer   one, Indexed          one a machine            its ranks, one container   yes; rank 0 writes there
//   reward    one a reward server   one                      one                        no
//   rollout   one a worker          one                      one                        no
//
// The ranks of a machine share a container: NCCL talks over NVLink and shared memory where it sees all of the machine's
// GPUs, and over the network between pods. All pods of a Job have one template, so what differs between them is filled in
// as they start, by Kubernetes ("$(JOB_INDEX)"): all ranks have rank 0's command line, of which the others pass over
// where to serve. What a container writes goes to its pod's log; nothing is written to PlannedProcess::log_path.
#ifndef GRPO_TOOLS_LAUNCH_KUBERNETES_PODS_H_
#define GRPO_TOOLS_LAUNCH_KUBERNETES_PODS_H_

#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "tools/launch/run_plan.h"
#include "tools/launch/target.h"

namespace grpo {

// Where things are in the containers; deploy/image/build makes the first of them, the others are mounted.
inline constexpr char kImageHome[] = "/opt/grpo", kRunsFolder[] = "/runs", kConfigFolder[] = "/etc/grpo/config",
                      kTlsFolder[] = "/etc/grpo/tls";
// Of the image; with numbers, Kubernetes sees that it is not root.
inline constexpr int kImageUser = 10001;

// A kind of pod: a replicatedJob of the JobSet.
struct PodRole {
  // "trainer", "reward", "rollout": part of host names.
  std::string name;
  // "launch.<key>", and the files <tls>.pem and <tls>.key that prove it.
  Role role = Role::kTrainer;
  std::string tls;
  RoleNeed need;
};

// What is the same for all pods of a run.
struct PodSurroundings {
  // The JobSet, and the run's network.
  std::string set;
  // As the containers see it.
  const RunConfig& config;
  std::string run_dir;
  // Of the claim.
  std::string claim;
  // Names of the Secret's files; none: there is no Secret.
  std::vector<std::string> tls_files;
};

// Name of a pod in the run's network: Job `job` of a role, pod `pod` of it. Both may be variables.
std::string PodHost(const std::string& set, const std::string& role, const std::string& job, const std::string& pod);

// What the JobSet says of one role: `replicas` Jobs of `pods` pods each. `first` is the role's first process in the plan.
nlohmann::ordered_json ReplicatedJob(const PodSurroundings& around, const PodRole& role, const PlannedProcess& first,
                                     int64_t replicas, int64_t pods);

}  // namespace grpo

#endif  // GRPO_TOOLS_LAUNCH_KUBERNETES_PODS_H_
