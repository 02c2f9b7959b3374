// A run's sampling side in one process, by the parts that a run has: coordinator and reward server over loopback, a
// worker on a thread of its own, the weights on their real way.
#ifndef GRPO_TOOLS_GRPOCTL_MODEL_BENCH_LOCAL_SERVICE_H_
#define GRPO_TOOLS_GRPOCTL_MODEL_BENCH_LOCAL_SERVICE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/scored_group.h"
#include "tools/grpoctl_model/bench/workload.h"
#include "trainer/policies.h"

namespace grpo {

// One thread.
class LocalService {
 public:
  // `channel`: the weight channel (rollout/weight_channel.h); empty: as a run, the best that both sides know.
  // InvalidArgument for one that is unknown.
  static absl::StatusOr<std::unique_ptr<LocalService>> Start(const BenchOptions& options, const std::string& channel);
  // Ends the worker and waits for it.
  virtual ~LocalService() = default;

  struct Sampled {
    // options.prompts, scored by the default rules.
    std::vector<ScoredGroup> groups;
    // From the call on, one behind the other:
    //   publish/pack      what the trainer does before anybody can ask for the version: manifest, hashes
    //   publish/transfer  lease, transfer, verification, loading, until the generator is offered the weights
    //   publish/start     until its first step begins
    //   sample/*          Engine::seconds; sample/other what is beside them
    //   score             from the last step's end until all groups are back
    PhaseSeconds phases;
    // From the call to the beginning and to the end of the first step.
    double ready_seconds = 0, first_step_seconds = 0;
    int64_t payload_bytes = 0;
  };
  // Publishes the policy as it is now and has groups sampled with it. Each call needs another number of the policy.
  // Errors of Policy::Weights and Coordinator::Collect; DeadlineExceeded after ten minutes.
  virtual absl::StatusOr<Sampled> Sample(const Policy& policy) = 0;

  // By which weight channel the last version came.
  virtual std::string channel() const = 0;
};

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_MODEL_BENCH_LOCAL_SERVICE_H_
