#include "trainer/run.h"

#include <unistd.h>

#include <memory>
#include <optional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/log.h"
#include "common/rpc/endpoint.h"
#include "common/rpc/server.h"
#include "common/status_macros.h"
#include "configs/load.h"
#include "coordinator/coordinator.h"
#include "coordinator/service.h"
#include "trainer/checkpoint/snapshot.h"
#include "trainer/checkpoint/store.h"
#include "trainer/ranks.h"
#include "trainer/records/completions_format.h"
#include "trainer/resume.h"
#include "trainer/stage/context.h"
#include "trainer/status/service.h"
#include "trainer/status/watchdog.h"

namespace grpo {
namespace {

using nlohmann::json;

// After the last stage: time for watchers to read the terminal state and for workers to hear that the run has ended.
constexpr absl::Duration kFarewell = absl::Seconds(1);

v1::RunStatus InitialStatus(const RunArguments& arguments) {
  v1::RunStatus status;
  status.set_run_id(arguments.run_id);
  status.set_run_name(arguments.config.config.run.name);
  status.set_run_dir(arguments.run_dir);
  status.set_state(v1::RUN_STATE_STARTING);
  status.set_phase("start");
  for (const StageOptions& options : arguments.config.config.stages) {
    v1::StageStatus* stage = status.add_stages();
    stage->set_name(options.name);
    stage->set_type(options.type);
    stage->set_state(v1::STAGE_STATE_PENDING);
    TrainStageOptions train;
    if (options.type == "train" && LoadOptions(options.options, &train).ok()) stage->set_num_steps(train.steps);
  }
  return status;
}

class Run {
 public:
  Run(RunArguments arguments, Collectives* collectives, std::optional<Snapshot> resumed)
      : arguments_(std::move(arguments)),
        collectives_(collectives),
        config_(arguments_.config.config),
        policies_(config_.policies, config_.run.seed),
        checkpoints_(absl::StrCat(arguments_.run_dir, "/checkpoints"), config_.checkpoint.keep),
        resumed_(std::move(resumed)),
        epoch_(resumed_ ? resumed_->state.epoch + 1 : 1),
        coordinator_(config_.coordinator,
                     {.run_id = arguments_.run_id, .config_sha256 = arguments_.config.sha256, .epoch = epoch_}),
        board_(InitialStatus(arguments_), &coordinator_),
        coordinator_service_(&coordinator_),
        trainer_service_(&board_, &control_, arguments_.config.resolved_yaml, arguments_.config.sha256) {}

  absl::Status Execute() {
    absl::Status status = Start();
    if (status.ok()) status = RunStages();
    const bool by_request = control_.stopped_by_request();
    if (collectives_->broken()) {
      // Workers, watchers and the coordinator's address outlive this: all ranks start again from the last checkpoint.
      return status;
    }
    if (status.ok() || absl::IsAborted(status)) LetOthersGo();
    End(status);
    // A stop that was asked for is a success; a signal is not: schedulers start the run again on its code.
    return absl::IsAborted(status) && by_request ? absl::OkStatus() : status;
  }

 private:
  absl::Status Start() {
    RETURN_IF_ERROR(MakeFolders(arguments_.run_dir));
    int64_t step = 0;
    if (resumed_) {
      for (const auto& weights : resumed_->policies) RETURN_IF_ERROR(policies_.Restore(*weights));
      for (const UntrainedPolicy& frozen : resumed_->state.frozen_policies) RETURN_IF_ERROR(policies_.Remake(frozen));
      reports_ = resumed_->state.stage_reports;
      stage_index_ = resumed_->state.stage_index;
      step = resumed_->state.progress.step;
      sequence_ = resumed_->state.sequence - step;
    }
    std::vector<std::string> stages_done;
    for (int64_t i = 0; i < stage_index_; ++i) stages_done.push_back(config_.stages[i].name);
    const std::string current = stage_index_ < NumStages() ? config_.stages[stage_index_].name : "";
    ASSIGN_OR_RETURN(metrics_,
                     MetricsLog::Open(absl::StrCat(arguments_.run_dir, "/metrics.jsonl"), stages_done, current, step));
    std::vector<std::string> stages_begun = stages_done;
    stages_begun.push_back(current);
    ASSIGN_OR_RETURN(completions_,
                     CompletionsLog::Open(absl::StrCat(arguments_.run_dir, "/", kCompletionsFile), stages_begun));
    ASSIGN_OR_RETURN(quarantine_,
                     QuarantineLog::Open(absl::StrCat(arguments_.run_dir, "/quarantine.jsonl"), arguments_.resume));
    for (const auto& [stage, group_index] : quarantine_->entries()) coordinator_.Quarantine(stage, group_index);
    ASSIGN_OR_RETURN(server_, rpc::Server::Start(
                                  config_.network.ServerOptions(arguments_.port.value_or(config_.network.trainer_port)),
                                  {&coordinator_service_, &trainer_service_}));
    const std::string& host =
        arguments_.advertise_host.empty() ? config_.network.advertise_host : arguments_.advertise_host;
    const std::string address = AdvertisedAddress(server_->address(), host);
    spdlog::info("run {} serves Coordinator and TrainerService at {}", arguments_.run_id, address);
    return WriteEndpoint(RunEndpointPath(arguments_.run_dir),
                         {.address = address, .pid = ::getpid(), .client = config_.network.ClientOptions()});
  }

  absl::Status RunStages() {
    RunContext context{.config = config_,
                       .data_sha256 = arguments_.config.data_sha256,
                       .run_dir = arguments_.run_dir,
                       .artifact_sha256 = {},
                       .policies = &policies_,
                       .coordinator = &coordinator_,
                       .board = &board_,
                       .control = &control_,
                       .collectives = collectives_,
                       .metrics = metrics_.get(),
                       .completions = completions_.get(),
                       .quarantine = quarantine_.get(),
                       .save = [this](const StageCursor& cursor) { return Save(cursor); }};
    board_.Update([&](v1::RunStatus& status) {
      status.set_state(v1::RUN_STATE_RUNNING);
      for (int64_t i = 0; i < stage_index_; ++i) MarkDone(reports_[i], *status.mutable_stages(static_cast<int>(i)));
    });
    const Watchdog watchdog(collectives_, &board_, absl::Seconds(config_.trainer.stall_after_s));
    StageCursor cursor;
    if (resumed_) cursor = {resumed_->state.progress, std::move(resumed_->optimizer)};
    resumed_.reset();
    for (; stage_index_ < NumStages(); ++stage_index_) {
      RETURN_IF_ERROR(Annotate(RunStage(context, std::exchange(cursor, {})),
                               absl::StrCat("stage ", config_.stages[stage_index_].name)));
    }
    return absl::OkStatus();
  }

  absl::Status RunStage(RunContext& context, StageCursor cursor) {
    const StageOptions& stage = config_.stages[stage_index_];
    spdlog::info("stage {} ({}) {}", stage.name, stage.type,
                 cursor.step > 0 ? absl::StrCat("goes on at step ", cursor.step) : "starts");
    board_.Update([&](v1::RunStatus& status) {
      status.set_stage_index(static_cast<int>(stage_index_));
      status.clear_stage_remaining_seconds();
      v1::StageStatus* row = status.mutable_stages(static_cast<int>(stage_index_));
      row->set_state(v1::STAGE_STATE_RUNNING);
      row->set_step(cursor.step);
    });
    const absl::Duration started = Clock::Real().Now();
    const double seconds_before = cursor.seconds;
    const bool train = stage.type == "train";
    context.stage_index = stage_index_;
    context.artifact_sha256 = WrittenArtifacts();
    ASSIGN_OR_RETURN(json report, train                        ? RunTrainStage(context, stage, std::move(cursor))
                                  : stage.type == "synthesize" ? RunSynthesizeStage(context, stage)
                                                               : RunEvaluateStage(context, stage));
    json entry = {{"name", stage.name},
                  {"type", stage.type},
                  {"seconds", seconds_before + absl::ToDoubleSeconds(Clock::Real().Now() - started)}};
    entry.update(report);
    reports_.push_back(entry);
    sequence_ += 1 + (train ? report.at("steps").get<int64_t>() : 0);
    board_.Update(
        [&](v1::RunStatus& status) { MarkDone(entry, *status.mutable_stages(static_cast<int>(stage_index_))); });
    RETURN_IF_ERROR(WriteSummary());
    // What comes next starts from here: the stage's work is not repeated.
    ++stage_index_;
    const absl::Status saved =
        SaveAsConfigured(context, absl::StrCat("at the end of ", stage.name), [this] { return Save(StageCursor{}); });
    --stage_index_;
    return saved;
  }

  // RunContext::artifact_sha256.
  std::map<std::string, std::string> WrittenArtifacts() const {
    std::map<std::string, std::string> written;
    for (const json& report : reports_) {
      if (report.contains("artifact_sha256"))
        written[report.value("artifact", "")] = report.value("artifact_sha256", "");
    }
    return written;
  }

  static void MarkDone(const json& report, v1::StageStatus& stage) {
    stage.set_state(v1::STAGE_STATE_DONE);
    stage.set_seconds(report.value("seconds", 0.0));
    stage.set_num_steps(report.value("steps", int64_t{0}));
    stage.set_step(stage.num_steps());
    for (const auto& [name, value] : report.at("metrics").items()) {
      if (value.is_number()) (*stage.mutable_metrics())[name] = value.get<double>();
    }
  }

  absl::Status WriteSummary() {
    const json summary = {{"run", {{"name", config_.run.name}, {"id", arguments_.run_id}, {"seed", config_.run.seed}}},
                          {"stages", reports_}};
    return WriteFileAtomically(absl::StrCat(arguments_.run_dir, "/summary.json"), summary.dump(2) + "\n");
  }

  absl::StatusOr<v1::CheckpointStatus> Save(const StageCursor& cursor) {
    const std::string phase = board_.Snapshot().phase();
    board_.SetPhase("save");
    absl::StatusOr<v1::CheckpointStatus> saved = SaveSnapshot(cursor);
    board_.SetPhase(phase);
    if (saved.ok()) {
      board_.SetCheckpoint(*saved);
    } else {
      board_.SetCheckpointError(std::string(saved.status().message()));
    }
    return saved;
  }

  absl::StatusOr<v1::CheckpointStatus> SaveSnapshot(const StageCursor& cursor) {
    Snapshot snapshot{
        .state = {}, .resolved_yaml = arguments_.config.resolved_yaml, .optimizer = cursor.optimizer, .policies = {}};
    CheckpointState& state = snapshot.state;
    state.run_id = arguments_.run_id;
    state.epoch = epoch_;
    state.sequence = sequence_ + cursor.step;
    state.stage_index = stage_index_;
    state.stage = stage_index_ < NumStages() ? config_.stages[stage_index_].name : "";
    state.progress = cursor;
    state.stage_reports = reports_;
    state.config_sha256 = arguments_.config.sha256;
    state.data_sha256 = arguments_.config.data_sha256;
    state.environment = CurrentEnvironment(collectives_->world_size());
    ASSIGN_OR_RETURN(snapshot.policies, policies_.Trained());
    ASSIGN_OR_RETURN(state.frozen_policies, policies_.Frozen());
    ASSIGN_OR_RETURN(const auto files, SnapshotToFiles(snapshot));
    ASSIGN_OR_RETURN(const std::string name, checkpoints_.Save(state.sequence, files));
    v1::CheckpointStatus status;
    status.set_stage(state.stage);
    status.set_step(cursor.step);
    status.set_path(absl::StrCat("checkpoints/", name));
    return status;
  }

  void LetOthersGo() {
    if (const absl::Status sent = SendEndOfRun(*collectives_); !sent.ok())
      spdlog::warn("not every rank heard of the run's end: {}", std::string(sent.message()));
  }

  void End(const absl::Status& result) {
    board_.Update([&](v1::RunStatus& status) {
      status.set_phase("end");
      status.set_state(result.ok()               ? v1::RUN_STATE_FINISHED
                       : absl::IsAborted(result) ? v1::RUN_STATE_STOPPED
                                                 : v1::RUN_STATE_FAILED);
      if (!result.ok()) status.set_state_reason(std::string(result.message()));
    });
    control_.End();
    coordinator_.End();
    if (server_ == nullptr) return;
    absl::SleepFor(kFarewell);
    server_->Shutdown();
  }

  int64_t NumStages() const { return static_cast<int64_t>(config_.stages.size()); }

  const RunArguments arguments_;
  Collectives* const collectives_;
  const RunConfig& config_;
  PolicyStore policies_;
  CheckpointStore checkpoints_;
  std::optional<Snapshot> resumed_;
  const int64_t epoch_;
  Coordinator coordinator_;
  RunControl control_;
  StatusBoard board_;
  CoordinatorService coordinator_service_;
  TrainerServiceImpl trainer_service_;
  std::unique_ptr<MetricsLog> metrics_;
  std::unique_ptr<CompletionsLog> completions_;
  std::unique_ptr<QuarantineLog> quarantine_;
  std::unique_ptr<rpc::Server> server_;
  int64_t stage_index_ = 0;
  // CheckpointStore's order: what is done before the running stage.
  int64_t sequence_ = 0;
  json reports_ = json::array();
};

}  // namespace

absl::Status ExecuteRun(RunArguments arguments, Collectives* collectives) {
  const std::string endpoint_path = RunEndpointPath(arguments.run_dir);
  // Left by a trainer that was killed: nobody is to call a dead address until this one serves.
  RemoveEndpoint(endpoint_path);
  const absl::Cleanup withdraw = [&] { RemoveEndpoint(endpoint_path); };
  std::optional<Snapshot> resumed;
  if (arguments.resume) {
    ASSIGN_OR_RETURN(
        resumed, LoadCheckpoint(arguments.run_dir, arguments.config, CurrentEnvironment(collectives->world_size())));
  }
  return Run(std::move(arguments), collectives, std::move(resumed)).Execute();
}

}  // namespace grpo
