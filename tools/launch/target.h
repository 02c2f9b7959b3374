// A kind of cluster that runs are submitted to. It owns placement, queueing and the machines' restarts; what a run
// consists of is the plan's to say (run_plan.h). One file each in targets/, one line each in targets.inc. No torch.
#ifndef GRPO_TOOLS_LAUNCH_TARGET_H_
#define GRPO_TOOLS_LAUNCH_TARGET_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tools/launch/run_plan.h"
#include "trainer/run_config.h"

namespace grpo {

// What one process of a role asks for.
struct RoleNeed {
  int64_t nodes = 1, processes_per_node = 1;
  // Of each process.
  int64_t gpus = 0, cpus = 1;
  double memory_gib = 0;
  // By the estimate, on its GPU; 0 where it has none.
  double gpu_memory_gib = 0;
};

// A file to be submitted, or that what is submitted reads.
struct LaunchFile {
  // Relative to RUN/launch/.
  std::string name;
  std::string content;
  // 0600 for what holds a secret.
  int mode = 0644;
};

// What is to be launched.
struct LaunchRequest {
  // Resolved and checked; outlives the request.
  const RunConfig& config;
  // As PlanRequest has them; run_dir holds config.yaml once it is submitted. In Kubernetes' containers it is another one
  // (tools/launch/kubernetes/manifest.h).
  std::string run_dir, run_id;
  Programs programs;
  // This grpoctl, for what runs inside the job.
  std::string grpoctl;
  bool resume = false;
  // Of each role, by launch.<role> and the estimates.
  RoleNeed trainer, rollout_worker, reward_server;
  // Disk that the run needs, by the estimate.
  double disk_gib = 0;
  // What proves the run's processes to each other, where the target carries it to them: all of RUN/tls, or every file
  // that `network` names, by its base name.
  std::vector<LaunchFile> tls = {};
  // PlanRequest's.
  bool allow_other_device = false;
};

// What a cluster says of a job.
struct JobState {
  // The cluster's own word: "PENDING", "RUNNING", "COMPLETED".
  std::string word;
  // It will not run again by itself.
  bool ended = false;
  // What it waits for, or why it ended; may be empty.
  std::string reason;
  // The run's folder as the cluster knows it, empty where it does not.
  std::string run_dir;
};

// Stateless; any thread. What talks to the cluster blocks, 30 s at most.
class LaunchTarget {
 public:
  virtual ~LaunchTarget() = default;

  // Whether LaunchRequest::tls goes along with what is submitted, for the run's processes see no file system of this
  // machine's. Nobody renews what was brought there.
  virtual bool CarriesTls() const { return false; }
  // The same request gives the same files; reads nothing but small files that the configuration names. The first is the
  // one that Submit is given. InvalidArgument names each key that this kind of cluster needs otherwise, all of them
  // together.
  virtual absl::StatusOr<std::vector<LaunchFile>> Render(const LaunchRequest& request) const = 0;
  // Submits what Render gave, as it lies in `folder` (RUN/launch), and returns the job's name there. NotFound when the
  // cluster's client is not on this machine (which one, and how to get it); Unavailable when the cluster does not answer.
  virtual absl::StatusOr<std::string> Submit(const std::string& folder) const = 0;
  // NotFound for a job that the cluster does not know.
  virtual absl::StatusOr<JobState> State(const std::string& job) const = 0;
  // Asks the job to save and end for good (`grpoctl stop` of a run whose trainer cannot be reached, such as one that is
  // still queued). OK when it has ended before.
  virtual absl::Status Stop(const std::string& job) const = 0;
  // Commands for a person, each with what it does: how this job is looked at by the cluster's own tools.
  virtual std::vector<std::string> Hints(const std::string& job) const = 0;
};

// targets.inc's names, in its order.
std::vector<std::string> LaunchTargetNames();
// InvalidArgument lists the names.
absl::StatusOr<std::unique_ptr<LaunchTarget>> MakeLaunchTarget(absl::string_view name);

}  // namespace grpo

#endif  // GRPO_TOOLS_LAUNCH_TARGET_H_
