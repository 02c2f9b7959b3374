// What a train stage changes: a policy, its optimizer and the loop, the same on every rank.
//
//   Step: Loop::Step --> for each update that is taken: Policy::BeginUpdate (whoever reads the weights is waited for),
//                        then AdamW moves them
//                    --> the policy's number grows by the updates that were taken
#ifndef GRPO_TRAINER_LEARNER_H_
#define GRPO_TRAINER_LEARNER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "trainer/algorithm/algorithm.h"
#include "trainer/dist/collectives.h"
#include "trainer/loop.h"
#include "trainer/optim/adamw.h"
#include "trainer/options.h"
#include "trainer/policies.h"
#include "trainer/stage/stage.h"

namespace grpo {

// The names of the policies that the algorithm only reads, each once, in the order in which it names them.
std::vector<std::string> FrozenPolicies(const Algorithm& algorithm);

// One thread.
class Learner {
 public:
  // For the spec's policy and those that its algorithm only reads, as they are in `policies`. InvalidArgument for
  // losses that are unknown or whose options do not fit. `collectives` and `policies` outlive the learner.
  // PolicyStore::Get's errors. From here on the policy's weights require grad. The spec is read now; what it refers to
  // is not needed afterwards.
  static absl::StatusOr<std::unique_ptr<Learner>> Create(const TrainerOptions& options, const LearnerSpec& spec,
                                                         PolicyStore* policies, Collectives* collectives);

  // The policy lives on, and its gradients, as large as itself, do not.
  ~Learner() { optimizer_.ZeroGrad(); }

  // Loop::Step for the stage's step number `step`, from 0; the policy's number grows by the updates that were taken. No
  // update changes weights that others read: it waits for them first, 10 s at most, then they are cut off. The metric
  // weights_wait_seconds says how long that took, over the step's updates.
  absl::StatusOr<StepResult> Step(const StepBatch& part, double learning_rate, int64_t step);

  // The one that is trained; lives in `policies`.
  Policy& policy() { return *policy_; }
  // FrozenPolicies of the algorithm.
  const std::vector<const Policy*>& frozen() const { return frozen_; }
  // For a checkpoint's state; nobody else calls its Step.
  AdamW& optimizer() { return optimizer_; }

 private:
  Learner(Policy* policy, std::vector<const Policy*> frozen, NamedTensors stage_parameters, const LearnerSpec& spec);

  // Owned by the PolicyStore, like those of frozen_.
  Policy* const policy_;
  const std::vector<const Policy*> frozen_;
  // Of the stage.
  const int64_t num_steps_;
  AdamW optimizer_;
  std::unique_ptr<Loop> loop_;
  // Of the running step.
  absl::Duration weights_wait_;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_LEARNER_H_
