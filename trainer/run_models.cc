#include "trainer/run_models.h"

#include "common/status_macros.h"
#include "model/tokenizer/prompt.h"
#include "model/weights/folder.h"
#include "trainer/fingerprint.h"
#include "trainer/learner.h"
#include "trainer/loss/loss.h"
#include "trainer/optim/adamw.h"
#include "trainer/ranks.h"
#include "trainer/stage/endpoint_policy.h"
#include "trainer/top_logprobs.h"

namespace grpo {

std::map<std::string, at::Tensor> OptimizerTensors::Of(const StageCursor& cursor) {
  const auto* const state = dynamic_cast<const OptimizerTensors*>(cursor.learner.get());
  return state == nullptr ? std::map<std::string, at::Tensor>() : state->tensors();
}

class RunModels::Handle : public StagePolicy {
 public:
  // The policy stays valid (PolicyStore).
  Handle(Policy* policy, Coordinator* coordinator, const TrainerOptions& options)
      : policy_(*policy),
        coordinator_(*coordinator),
        options_(options),
        vocabulary_(std::make_shared<Vocabulary>(
            Vocabulary{.size = policy->model->config().vocab_size,
                       .encode_prompt = [tokenizer = policy->tokenizer.get()](const std::string& prompt) {
                         return EncodePrompt(*tokenizer, prompt);
                       }})) {}

  v1::PolicyRef ref() const override { return policy_.ref(); }
  const ModelConfig& config() const override { return policy_.model->config(); }
  const Tokenizer& tokenizer() const override { return *policy_.tokenizer; }
  std::string WeightsHash() const override { return grpo::WeightsHash(policy_.model->NamedParameters()); }
  absl::Status Publish() override {
    ASSIGN_OR_RETURN(std::shared_ptr<const WeightSource> weights, policy_.Weights(WeightsForm::kSampled));
    coordinator_.Publish(std::move(weights), vocabulary_);
    return absl::OkStatus();
  }
  absl::Status ExportTo(const std::string& folder) const override {
    return ExportFolder(*policy_.model, policy_.tokenizer_json, policy_.companions, folder);
  }
  absl::StatusOr<std::vector<TopK>> TopLogprobs(const std::vector<TokenizedTrace>& traces, int64_t k) const override {
    return grpo::TopLogprobs(*policy_.model, traces, k, options_);
  }

 private:
  Policy& policy_;
  Coordinator& coordinator_;
  const TrainerOptions& options_;
  // Reads the policy's tokenizer, which stays as long as the policy.
  const std::shared_ptr<const Vocabulary> vocabulary_;
};

namespace {

// A Learner on each rank; this is rank 0's.
class RankedLearner : public StepLearner {
 public:
  RankedLearner(std::unique_ptr<Learner> learner, StagePolicy* policy, const LearnerSpec& spec,
                Collectives* collectives)
      : learner_(std::move(learner)), policy_(*policy), spec_(spec), collectives_(*collectives) {}

  StagePolicy& policy() override { return policy_; }

  absl::StatusOr<StepOutcome> Step(StepBatch batch, int64_t step) override {
    StepOutcome outcome{.metrics = {}, .token_ids_hash = TokenIdsHash(batch), .weights_hash = ""};
    const double learning_rate = LearningRateAt(spec_.optimizer, step, spec_.num_steps);
    ASSIGN_OR_RETURN(const StepBatch part, SendTrainStep(collectives_, std::move(batch), step, learning_rate));
    ASSIGN_OR_RETURN(StepResult result, learner_->Step(part, learning_rate, step));
    outcome.metrics = std::move(result.metrics);
    outcome.weights_hash = std::move(result.weights_hash);
    return outcome;
  }

  void Save(StageCursor* cursor) const override {
    const auto state = learner_->optimizer().State();
    cursor->progress.optimizer_steps = learner_->optimizer().num_steps();
    cursor->learner = std::make_shared<OptimizerTensors>(std::map<std::string, at::Tensor>(state.begin(), state.end()));
  }

 private:
  const std::unique_ptr<Learner> learner_;
  StagePolicy& policy_;
  const LearnerSpec spec_;
  Collectives& collectives_;
};

}  // namespace

RunModels::RunModels(const TrainerOptions& options, PolicyStore* policies, Coordinator* coordinator,
                     Collectives* collectives)
    : options_(options), policies_(*policies), coordinator_(*coordinator), collectives_(*collectives) {}

RunModels::~RunModels() = default;

absl::StatusOr<StagePolicy*> RunModels::Get(const std::string& policy) {
  std::unique_ptr<StagePolicy>& handle = handles_[policy];
  if (const EndpointOptions* const endpoint = policies_.Endpoint(policy); endpoint != nullptr) {
    if (handle == nullptr) handle = MakeEndpointPolicy(policy, *endpoint);
    return handle.get();
  }
  ASSIGN_OR_RETURN(Policy* const made, policies_.Get(policy));
  if (handle == nullptr) handle = std::make_unique<Handle>(made, &coordinator_, options_);
  return handle.get();
}

absl::Status RunModels::CheckLosses(const std::vector<LossTerm>& losses) const {
  return MakeLosses(losses).status();
}

absl::StatusOr<std::unique_ptr<StepLearner>> RunModels::BeginTraining(const LearnerSpec& spec,
                                                                      const StageCursor& start) {
  ASSIGN_OR_RETURN(auto learner, Learner::Create(options_, spec, &policies_, &collectives_));
  if (start.progress.optimizer_steps > 0) {
    RETURN_IF_ERROR(learner->optimizer().SetState(OptimizerTensors::Of(start), start.progress.optimizer_steps));
  }
  RETURN_IF_ERROR(grpo::BeginTraining(collectives_, start.stage_index, *learner));
  ASSIGN_OR_RETURN(StagePolicy* const policy, Get(spec.policy));
  return std::make_unique<RankedLearner>(std::move(learner), policy, spec, &collectives_);
}

}  // namespace grpo
