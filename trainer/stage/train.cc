// A stage of type `train`: step after step, with the requests from outside served in between.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/peak_memory.h"
#include "common/status_macros.h"
#include "configs/load.h"
#include "model/weights/folder.h"
#include "trainer/algorithm/algorithm.h"
#include "trainer/fingerprint.h"
#include "trainer/learner.h"
#include "trainer/ranks.h"
#include "trainer/stage/context.h"
#include "trainer/stage/step_source.h"

namespace grpo {
namespace {

using nlohmann::json;

// A train stage while it runs.
class TrainStage {
 public:
  TrainStage(RunContext& context, const StageOptions& stage, StageCursor start)
      : context_(context),
        stage_(stage),
        cursor_(std::move(start)),
        start_time_(Clock::Real().Now()),
        seconds_before_(cursor_.seconds) {}

  absl::StatusOr<json> Run() {
    RETURN_IF_ERROR(Prepare());
    while (cursor_.step < options_.steps) {
      RETURN_IF_ERROR(Poll());
      RETURN_IF_ERROR(Step());
    }
    return Finish();
  }

 private:
  absl::Status Prepare() {
    RETURN_IF_ERROR(LoadOptions(stage_.options, &options_));
    ASSIGN_OR_RETURN(algorithm_, MakeAlgorithm(options_.algorithm, options_.algorithm_options));
    plan_ = algorithm_->plan();
    ASSIGN_OR_RETURN(learner_,
                     Learner::Create(context_.config, options_, *algorithm_, context_.policies, context_.collectives));
    if (cursor_.optimizer_steps > 0)
      RETURN_IF_ERROR(learner_->optimizer().SetState(cursor_.optimizer, cursor_.optimizer_steps));
    RETURN_IF_ERROR(BeginTraining(*context_.collectives, context_.stage_index, *learner_));
    ASSIGN_OR_RETURN(
        source_, MakeStepSource(context_, stage_, options_, *algorithm_, learner_->policy(), cursor_.data_position));
    context_.completions->Rewind(stage_.name, cursor_.step);
    context_.board->Update([&](v1::RunStatus& status) { *status.mutable_policy() = learner_->policy().ref(); });
    return absl::OkStatus();
  }

  // Between steps: the requests from outside.
  absl::Status Poll() {
    return context_.control->Poll([&] { return Save(); });
  }

  absl::Status Step() {
    const Clock& clock = Clock::Real();
    const absl::Duration started = clock.Now();
    ASSIGN_OR_RETURN(const StepInput input, source_->Next(cursor_.step, [&] { return Poll(); }));
    const absl::Duration received = clock.Now();
    context_.board->SetPhase("step");
    ASSIGN_OR_RETURN(StepBatch batch, algorithm_->Prepare(input));
    hashes_["token_ids_hash"] = TokenIdsHash(batch);
    const double learning_rate = LearningRateAt(options_.optimizer, cursor_.step, options_.steps);
    ASSIGN_OR_RETURN(const StepBatch part,
                     SendTrainStep(*context_.collectives, std::move(batch), cursor_.step, learning_rate));
    ASSIGN_OR_RETURN(StepResult result, learner_->Step(part, learning_rate));
    metrics_ = std::move(result.metrics);
    hashes_["weights_hash"] = result.weights_hash;
    cursor_.data_position = source_->data_position();
    ++cursor_.step;
    const absl::Duration ended = clock.Now();
    const double seconds = absl::ToDoubleSeconds(ended - started);
    const RolloutInput* const rollouts = std::get_if<RolloutInput>(&input);
    if (rollouts != nullptr) {
      const int64_t num_quarantined =
          std::get<RolloutPlan>(plan_).prompts_per_step - static_cast<int64_t>(rollouts->groups.size());
      if (num_quarantined > 0) metrics_["num_quarantined_groups"] = static_cast<double>(num_quarantined);
    }
    metrics_["wait_seconds"] = absl::ToDoubleSeconds(received - started);
    metrics_["update_seconds"] = absl::ToDoubleSeconds(ended - received);
    metrics_["step_seconds"] = seconds;
    metrics_["peak_memory_bytes"] = static_cast<double>(PeakMemoryBytes());
    metrics_["tokens_per_second"] = metrics_["num_tokens"] / seconds;
    const int64_t keep_every = context_.config.completions.train_every_steps;
    if (rollouts != nullptr && !rollouts->groups.empty() && keep_every > 0 && cursor_.step % keep_every == 0)
      context_.completions->Append(stage_.name, cursor_.step, rollouts->groups);
    Record();
    const int64_t every = context_.config.checkpoint.every_steps;
    if (every > 0 && cursor_.step % every == 0 && cursor_.step < options_.steps) {
      return SaveAsConfigured(context_, absl::StrCat("at step ", cursor_.step, " of ", stage_.name),
                              [this] { return Save(); });
    }
    return absl::OkStatus();
  }

  void Record() {
    if (const auto difference = metrics_.find("logprob_abs_diff_max"); difference != metrics_.end()) {
      largest_logprob_difference_ = std::max(largest_logprob_difference_, difference->second);
    }
    if (metrics_["skipped_updates"] > 0) {
      spdlog::error("stage {} step {}: loss or gradient is not finite; {} update(s) skipped, the weights are as before",
                    stage_.name, cursor_.step, metrics_["skipped_updates"]);
    }
    context_.metrics->Append(stage_.name, cursor_.step, metrics_, hashes_);
    context_.board->Update([&](v1::RunStatus& status) {
      v1::StageStatus* stage = status.mutable_stages(status.stage_index());
      stage->set_step(cursor_.step);
      stage->set_seconds(Seconds());
      for (const auto& [name, value] : metrics_) (*stage->mutable_metrics())[name] = value;
      *status.mutable_policy() = learner_->policy().ref();
      const int64_t steps_here = cursor_.step - start_step_;
      if (steps_here >= 2) {
        status.set_stage_remaining_seconds((Seconds() - seconds_before_) / static_cast<double>(steps_here) *
                                           static_cast<double>(options_.steps - cursor_.step));
      }
    });
  }

  absl::StatusOr<v1::CheckpointStatus> Save() {
    cursor_.seconds = Seconds();
    cursor_.optimizer_steps = learner_->optimizer().num_steps();
    cursor_.optimizer.clear();
    for (const auto& [name, tensor] : learner_->optimizer().State()) cursor_.optimizer[name] = tensor;
    return context_.save(cursor_);
  }

  absl::StatusOr<json> Finish() {
    json report = {
        {"policy", learner_->policy().id}, {"policy_number", learner_->policy().number}, {"steps", options_.steps}};
    // What is worth knowing of the whole stage, beside the last step's values.
    if (std::holds_alternative<RolloutPlan>(plan_)) metrics_["logprob_abs_diff_max"] = largest_logprob_difference_;
    report["metrics"] = metrics_;
    // Whose work this stage built on.
    if (const std::string& artifact = context_.config.data.at(options_.data).artifact; !artifact.empty())
      report["data_artifact"] = artifact;
    if (!options_.export_to.empty()) {
      const std::string folder = context_.ArtifactPath(options_.export_to);
      const Policy& policy = learner_->policy();
      RETURN_IF_ERROR(ExportFolder(*policy.model, policy.tokenizer_json, policy.companions, folder));
      report["exported_to"] = folder;
      spdlog::info("policy {} written to {}", learner_->policy().id, folder);
    }
    return report;
  }

  double Seconds() const { return seconds_before_ + absl::ToDoubleSeconds(Clock::Real().Now() - start_time_); }

  RunContext& context_;
  const StageOptions& stage_;
  TrainStageOptions options_;
  StageCursor cursor_;
  const int64_t start_step_ = cursor_.step;
  const absl::Duration start_time_;
  const double seconds_before_;
  std::unique_ptr<Algorithm> algorithm_;
  StepPlan plan_;
  std::unique_ptr<Learner> learner_;
  std::unique_ptr<StepSource> source_;
  // Of the newest step; hashes are equal wherever the step was the same.
  std::map<std::string, double> metrics_;
  std::map<std::string, std::string> hashes_;
  double largest_logprob_difference_ = 0;
};

}  // namespace

absl::StatusOr<json> RunTrainStage(RunContext& context, const StageOptions& stage, StageCursor start) {
  return TrainStage(context, stage, std::move(start)).Run();
}

}  // namespace grpo
