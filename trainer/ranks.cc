#include "trainer/ranks.h"

#include <map>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/status_macros.h"
#include "common/stop_signal.h"
#include "proto/ranks.pb.h"
#include "trainer/batch/share.h"
#include "trainer/batch/wire.h"

namespace grpo {
namespace {

StepBatch PartOf(const v1::TrainStep& step) {
  StepBatch part{.minibatches = {}, .iterations = step.iterations(), .metrics = {}};
  for (const v1::Minibatch& minibatch : step.minibatches()) {
    std::vector<TokenStreams>& sequences = part.minibatches.emplace_back();
    for (const v1::Sequence& sequence : minibatch.sequences()) sequences.push_back(FromProto(sequence));
  }
  return part;
}

absl::Status SendToAll(Collectives& collectives, const v1::RankCommand& command) {
  if (collectives.world_size() == 1) return absl::OkStatus();
  return collectives.Send(std::vector<std::string>(collectives.world_size(), command.SerializeAsString()));
}

absl::Status BroadcastPolicy(Collectives& collectives, const Policy& policy) {
  ASSIGN_OR_RETURN(WeightSet weights, policy.Pack());
  std::string manifest = weights.manifest.SerializeAsString();
  RETURN_IF_ERROR(collectives.Broadcast(manifest));
  return collectives.Broadcast(weights.payload);
}

absl::Status ReceivePolicy(Collectives& collectives, PolicyStore& policies) {
  WeightSet weights;
  std::string manifest;
  RETURN_IF_ERROR(collectives.Broadcast(manifest));
  RETURN_IF_ERROR(collectives.Broadcast(weights.payload));
  if (!weights.manifest.ParseFromString(manifest)) return absl::InternalError("rank 0 sent no weights manifest");
  return policies.Restore(weights);
}

std::vector<at::Tensor> Moments(const AdamW& optimizer) {
  std::vector<at::Tensor> moments;
  for (auto& [name, tensor] : optimizer.State()) moments.push_back(std::move(tensor));
  return moments;
}

class Follower {
 public:
  Follower(Collectives& collectives, const RunConfig& config, c10::Device device)
      : collectives_(collectives), config_(config), policies_(config.policies, config.run.seed, device) {}

  absl::Status Run() {
    while (true) {
      collectives_.SetPhase("wait_for_rank_0");
      ASSIGN_OR_RETURN(const std::string text, collectives_.Receive([this] { return Poll(); }));
      v1::RankCommand command;
      if (!command.ParseFromString(text)) return absl::InternalError("rank 0 sent no command");
      switch (command.command_case()) {
        case v1::RankCommand::kBeginTraining:
          RETURN_IF_ERROR(Begin(command.begin_training()));
          break;
        case v1::RankCommand::kTrainStep:
          RETURN_IF_ERROR(Step(command.train_step()));
          break;
        case v1::RankCommand::kEndOfRun:
          return absl::OkStatus();
        case v1::RankCommand::COMMAND_NOT_SET:
          return absl::InternalError("rank 0 sent a command that this build does not know");
      }
    }
  }

 private:
  // Launchers signal every rank; rank 0 saves first, then lets all go.
  absl::Status Poll() {
    if (StopRequested() && !std::exchange(stop_noted_, true))
      spdlog::info("stopping when rank 0 does; the same signal once more ends this rank at once");
    return absl::OkStatus();
  }

  absl::Status Begin(const v1::BeginTraining& begin) {
    collectives_.SetPhase("load");
    if (begin.stage_index() < 0 || begin.stage_index() >= static_cast<int>(config_.stages.size()))
      return absl::InternalError(absl::StrCat("rank 0 begins stage ", begin.stage_index(), ", which does not exist"));
    const ConfiguredStage& stage = config_.stages[begin.stage_index()];
    const std::optional<LearnerSpec> spec = stage.stage->learner();
    if (!spec)
      return absl::InternalError(
          absl::StrCat("rank 0 begins to train in stage ", stage.name, ", which learns nothing"));
    learner_.reset();
    RETURN_IF_ERROR(ReceivePolicy(collectives_, policies_));
    for (size_t i = 0; i < FrozenPolicies(spec->algorithm).size(); ++i)
      RETURN_IF_ERROR(ReceivePolicy(collectives_, policies_));
    ASSIGN_OR_RETURN(learner_, Learner::Create(config_.trainer, *spec, &policies_, &collectives_));
    RETURN_IF_ERROR(collectives_.Broadcast(Moments(learner_->optimizer())));
    const auto state = learner_->optimizer().State();
    spdlog::info("rank {} of {} takes part in stage {}", collectives_.rank(), collectives_.world_size(), stage.name);
    return learner_->optimizer().SetState({state.begin(), state.end()}, begin.optimizer_steps());
  }

  absl::Status Step(const v1::TrainStep& step) {
    if (learner_ == nullptr) return absl::InternalError("rank 0 sent a step before the beginning of a stage");
    return learner_->Step(PartOf(step), step.learning_rate(), step.step()).status();
  }

  Collectives& collectives_;
  const RunConfig& config_;
  PolicyStore policies_;
  std::unique_ptr<Learner> learner_;
  bool stop_noted_ = false;
};

}  // namespace

absl::Status BeginTraining(Collectives& collectives, int64_t stage_index, Learner& learner) {
  if (collectives.world_size() == 1) return absl::OkStatus();
  v1::RankCommand command;
  command.mutable_begin_training()->set_stage_index(static_cast<int32_t>(stage_index));
  command.mutable_begin_training()->set_optimizer_steps(learner.optimizer().num_steps());
  RETURN_IF_ERROR(SendToAll(collectives, command));
  RETURN_IF_ERROR(BroadcastPolicy(collectives, learner.policy()));
  for (const Policy* const policy : learner.frozen()) RETURN_IF_ERROR(BroadcastPolicy(collectives, *policy));
  return collectives.Broadcast(Moments(learner.optimizer()));
}

absl::StatusOr<StepBatch> SendTrainStep(Collectives& collectives, StepBatch batch, int64_t step, double learning_rate) {
  std::vector<StepBatch> parts = ShareOut(std::move(batch), collectives.world_size());
  if (collectives.world_size() == 1) return std::move(parts[0]);
  // Rank 0 keeps its part as it is.
  std::vector<std::string> messages(1);
  for (size_t rank = 1; rank < parts.size(); ++rank) {
    v1::RankCommand command;
    v1::TrainStep& train_step = *command.mutable_train_step();
    train_step.set_step(step);
    train_step.set_learning_rate(learning_rate);
    train_step.set_iterations(parts[rank].iterations);
    for (const std::vector<TokenStreams>& sequences : parts[rank].minibatches) {
      v1::Minibatch& minibatch = *train_step.add_minibatches();
      for (const TokenStreams& sequence : sequences) *minibatch.add_sequences() = ToProto(sequence);
    }
    messages.push_back(command.SerializeAsString());
  }
  RETURN_IF_ERROR(collectives.Send(std::move(messages)));
  return std::move(parts[0]);
}

absl::Status SendEndOfRun(Collectives& collectives) {
  v1::RankCommand command;
  command.mutable_end_of_run();
  return SendToAll(collectives, command);
}

absl::Status FollowRankZero(Collectives& collectives, const RunConfig& config, c10::Device device) {
  return Follower(collectives, config, device).Run();
}

}  // namespace grpo
