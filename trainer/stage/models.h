// The run's policies and learners, as stages see them: this is all of torch that a stage touches, and it links none.
// trainer/run_models.h implements it; tests may have others.
#ifndef GRPO_TRAINER_STAGE_MODELS_H_
#define GRPO_TRAINER_STAGE_MODELS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/config.h"
#include "model/tokenizer/tokenizer.h"
#include "proto/types.pb.h"
#include "trainer/algorithm/algorithm.h"
#include "trainer/batch/streams.h"
#include "trainer/loss/term.h"
#include "trainer/stage/cursor.h"
#include "trainer/stage/stage.h"
#include "trainer/stage/top_k.h"

namespace grpo {

// One thread, the training thread. A policy of the run, by a handle that stays valid.
class StagePolicy {
 public:
  virtual ~StagePolicy() = default;
  // As it is now: the number grows while it learns. Two handles of one policy say the same.
  virtual v1::PolicyRef ref() const = 0;
  // What a policy that is only an address answers as; empty for one that has weights. One without weights has neither
  // config nor tokenizer, so whoever takes such policies asks this first.
  virtual std::string endpoint_model() const { return ""; }
  // Both live as long as the handle.
  virtual const ModelConfig& config() const = 0;
  virtual const Tokenizer& tokenizer() const = 0;
  // Of the weights as they are now (trainer/fingerprint.h). Costs a pass over all weights.
  virtual std::string WeightsHash() const = 0;
  // Makes the weights available to workers, as they are now. They may be read until the policy's next update. Internal
  // for what torch throws.
  virtual absl::Status Publish() = 0;
  // Writes a Hugging Face folder (model/weights/folder.h ExportFolder). Its errors. In float32.
  virtual absl::Status ExportTo(const std::string& folder) const = 0;
  // Of each trace the k likeliest tokens at the completion's tokens, at temperature 1, as the policy is now. k is at
  // least 1 and at most config().vocab_size. A forward pass over all of them. InvalidArgument for a trace without a
  // prompt, and for one that is longer than the policy's positions; Internal for what torch throws.
  virtual absl::StatusOr<std::vector<TopK>> TopLogprobs(const std::vector<TokenizedTrace>& traces, int64_t k) const = 0;
};

// What a step did: StepResult of trainer/loop.h, and the batch's hash.
struct StepOutcome {
  std::map<std::string, double> metrics;
  // Of the batch before it was shared out, and of the weights after the step (trainer/fingerprint.h).
  std::string token_ids_hash, weights_hash;
};

// A stage's policy and its optimizer, on every rank of the trainer. One thread, the training thread.
class StepLearner {
 public:
  virtual ~StepLearner() = default;
  // The one that learns.
  virtual StagePolicy& policy() = 0;
  // Takes the updates of the stage's step number `step`, from 0, at its learning rate, on all ranks together.
  // Unavailable when another rank is gone. Errors of Loop::Step (trainer/loop.h).
  virtual absl::StatusOr<StepOutcome> Step(StepBatch batch, int64_t step) = 0;
  // Writes what a checkpoint needs of the learner as it is now into the cursor. The state is good until the next Step.
  // Fills progress.optimizer_steps and learner.
  virtual void Save(StageCursor* cursor) const = 0;
};

// What stages may ask of the run's policies. One thread, the training thread.
class Models {
 public:
  virtual ~Models() = default;
  // Made when it is first asked for; stays valid. NotFound for a name that is not configured; errors of loading or
  // initialising.
  virtual absl::StatusOr<StagePolicy*> Get(const std::string& policy) = 0;
  // InvalidArgument for losses that are unknown or whose options do not fit. Makes no policy.
  virtual absl::Status CheckLosses(const std::vector<LossTerm>& losses) const = 0;
  // Gives every rank the learner of the stage that `start` names, as `start` says. The spec's references and this
  // outlive the learner. Makes the policies that it needs. Errors of Get; Unavailable when another rank is gone.
  virtual absl::StatusOr<std::unique_ptr<StepLearner>> BeginTraining(const LearnerSpec& spec,
                                                                     const StageCursor& start) = 0;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_STAGE_MODELS_H_
