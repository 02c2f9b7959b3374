// The run's policies and learners behind the interfaces that stages see (trainer/stage/models.h).
#ifndef GRPO_TRAINER_RUN_MODELS_H_
#define GRPO_TRAINER_RUN_MODELS_H_

#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/coordinator.h"
#include "trainer/dist/collectives.h"
#include "trainer/policies.h"
#include "trainer/run_config.h"
#include "trainer/stage/models.h"

namespace grpo {

// AdamW's moments and the stage's own parameters, by name (AdamW::State). The tensors are the optimizer's own, not
// copies: good until its next step.
class OptimizerTensors : public LearnerState {
 public:
  explicit OptimizerTensors(std::map<std::string, at::Tensor> tensors) : tensors_(std::move(tensors)) {}
  const std::map<std::string, at::Tensor>& tensors() const { return tensors_; }

  // Of a cursor; none before a stage's first step. Empty, too, for a state of another kind.
  static std::map<std::string, at::Tensor> Of(const StageCursor& cursor);

 private:
  const std::map<std::string, at::Tensor> tensors_;
};

// One thread, the training thread.
class RunModels : public Models {
 public:
  // All that is given outlives this. Weights are published by the coordinator, and the collectives' ranks learn
  // together.
  RunModels(const TrainerOptions& options, PolicyStore* policies, Coordinator* coordinator, Collectives* collectives);
  ~RunModels() override;

  absl::StatusOr<StagePolicy*> Get(const std::string& policy) override;
  absl::Status CheckLosses(const std::vector<LossTerm>& losses) const override;
  absl::StatusOr<std::unique_ptr<StepLearner>> BeginTraining(const LearnerSpec& spec,
                                                             const StageCursor& start) override;

 private:
  class Handle;

  const TrainerOptions& options_;
  PolicyStore& policies_;
  Coordinator& coordinator_;
  Collectives& collectives_;
  // Of the policies that were asked for, by name.
  std::map<std::string, std::unique_ptr<StagePolicy>> handles_;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_RUN_MODELS_H_
