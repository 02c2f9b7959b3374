// A launched run from its place in the queue to its end.
#ifndef GRPO_TOOLS_GRPOCTL_CLIENT_JOB_FOLLOWER_H_
#define GRPO_TOOLS_GRPOCTL_CLIENT_JOB_FOLLOWER_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "common/rpc/client.h"
#include "common/rpc/endpoint.h"
#include "proto/trainer.pb.h"
#include "tools/grpoctl/client/progress.h"
#include "tools/grpoctl/client/status_stream.h"
#include "tools/launch/target.h"

namespace grpo {

// Shows the job's states and, while its trainer serves, the run's progress. One thread.
class JobFollower {
 public:
  struct Options {
    // As the verb's flags say it; what the run's endpoint.json says stands behind.
    rpc::ClientOptions client = {};
    // Between two questions to the cluster.
    absl::Duration ask_every = absl::Seconds(5);
  };

  // `target` and `printer` outlive it. `run_dir` is seen from here, as the job sees it.
  JobFollower(const LaunchTarget& target, std::string job, std::string run_dir, const Options& options,
              ProgressPrinter* printer)
      : target_(target), job_(std::move(job)), run_dir_(std::move(run_dir)), options_(options), printer_(printer) {}

  // The run's exit code (ExitCodeOf), once it has ended: 75 for one that was stopped and is not queued again, 1 when its
  // job ended without a word of the trainer's. Blocks.
  int Follow();

 private:
  // Shows what is new of the run. Holds its last state, once.
  std::optional<v1::RunState> ShowRun();
  // Opens the trainer's status when it serves at another place than the one that was followed before, as after a
  // requeue.
  void FindTrainer();
  // Whether the cluster says that the job has ended. Shows a state that is new.
  bool JobHasEnded();

  const LaunchTarget& target_;
  const std::string job_, run_dir_;
  const Options options_;
  ProgressPrinter* const printer_;
  // Null while no trainer is followed; the one that is, or was last.
  std::unique_ptr<BackgroundStatus> status_;
  Endpoint followed_;
  std::string shown_state_;
};

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_CLIENT_JOB_FOLLOWER_H_
