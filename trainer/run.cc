#include "trainer/run.h"

#include <unistd.h>

#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/files.h"
#include "common/log.h"
#include "common/rpc/endpoint.h"
#include "common/rpc/server.h"
#include "common/status_macros.h"
#include "coordinator/coordinator.h"
#include "coordinator/service.h"
#include "trainer/checkpoint/snapshot.h"
#include "trainer/checkpoint/store.h"
#include "trainer/disk_need.h"
#include "trainer/lineage.h"
#include "trainer/memory_need.h"
#include "trainer/preflight.h"
#include "trainer/ranks.h"
#include "trainer/records/data_record.h"
#include "trainer/records/run_end.h"
#include "trainer/records/run_records.h"
#include "trainer/resume.h"
#include "trainer/rounds.h"
#include "trainer/run_models.h"
#include "trainer/run_services.h"
#include "trainer/stage/context.h"
#include "trainer/status/initial_status.h"
#include "trainer/status/service.h"
#include "trainer/status/watchdog.h"

namespace grpo {
namespace {

using nlohmann::json;

Environment Surrounding(const RunArguments& arguments, const Collectives& collectives) {
  return CurrentEnvironment(collectives.world_size(), arguments.device, arguments.config.config.trainer.deterministic);
}

class Run {
 public:
  Run(RunArguments arguments, Collectives* collectives, std::optional<Snapshot> resumed, DataRecord data_record,
      const RunSurroundings& surroundings)
      : arguments_(std::move(arguments)),
        collectives_(collectives),
        surroundings_(surroundings),
        config_(arguments_.config.config),
        policies_(config_.policies, config_.run.seed, arguments_.device),
        checkpoints_(absl::StrCat(arguments_.run_dir, "/checkpoints"), config_.checkpoint.keep, guard()),
        resumed_(std::move(resumed)),
        data_record_(std::move(data_record)),
        preflight_(config_),
        epoch_(resumed_ ? resumed_->state.epoch + 1 : 1),
        coordinator_(config_.coordinator,
                     {.run_id = arguments_.run_id, .config_sha256 = arguments_.config.sha256, .epoch = epoch_},
                     surroundings.clock),
        board_(InitialStatus(arguments_.config.config, arguments_.run_id, arguments_.run_dir), &coordinator_,
               surroundings.clock),
        control_(&board_),
        models_(config_.trainer, &policies_, &coordinator_, collectives_),
        saver_(&control_, config_.checkpoint.on_error, [this](const StageCursor& cursor) { return Save(cursor); }),
        coordinator_service_(&coordinator_),
        trainer_service_(&board_, &control_, arguments_.config.resolved_yaml, arguments_.config.sha256) {}

  absl::Status Execute() {
    absl::Status status = Start();
    if (status.ok()) status = RunStages();
    if (status.ok()) status = MayWrite(guard());
    const absl::Cleanup ended = [this] {
      if (surroundings_.on_ended) surroundings_.on_ended();
    };
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
    if (resumed_) RETURN_IF_ERROR(Restore());
    if (guard() != nullptr) WatchFolder();
    RETURN_IF_ERROR(OpenRecords());
    for (const auto& [stage, group_index] : records_.quarantine->entries()) coordinator_.Quarantine(stage, group_index);
    coordinator_.ExpectRules(RewardRuleNames(config_));
    TellOfDevice(arguments_.device, saved_on_, &board_);
    local_weights_ = LendWeights(config_, arguments_.run_dir, &coordinator_);
    WarnOfOpenTraffic(config_.network, collectives_->world_size(), &board_);
    certificates_ = KeepCertificates(config_.network, &board_);
    ASSIGN_OR_RETURN(server_, rpc::Server::Start(
                                  config_.network.ServerOptions(arguments_.port.value_or(config_.network.trainer_port)),
                                  {&coordinator_service_, &trainer_service_}));
    const std::string& host =
        arguments_.advertise_host.empty() ? config_.network.advertise_host : arguments_.advertise_host;
    const std::string address = AdvertisedAddress(server_->address(), host);
    spdlog::info("run {} serves Coordinator and TrainerService at {}", arguments_.run_id, address);
    endpoint_ = {.address = address, .pid = ::getpid(), .client = config_.network.OperatorOptions()};
    RETURN_IF_ERROR(WriteEndpoint(RunEndpointPath(arguments_.run_dir), endpoint_));
    if (surroundings_.on_serving) surroundings_.on_serving(coordinator_, control_);
    return absl::OkStatus();
  }

  // What is said and done when somebody deletes what is in the run's folder.
  void WatchFolder() {
    guard()->OnAlarm([this](const std::string& alarms) {
      board_.Update([&](v1::RunStatus& status) { status.set_state_reason(alarms); });
    });
    guard()->OnBegunAnew([this] {
      return endpoint_.address.empty() ? absl::OkStatus()
                                       : WriteEndpoint(RunEndpointPath(arguments_.run_dir), endpoint_);
    });
  }

  // Takes over what the checkpoint holds.
  absl::Status Restore() {
    for (const auto& weights : resumed_->policies) RETURN_IF_ERROR(policies_.Restore(*weights));
    for (const UntrainedPolicy& frozen : resumed_->state.frozen_policies) RETURN_IF_ERROR(policies_.Remake(frozen));
    ASSIGN_OR_RETURN(reports_, StageReportsFromJson(resumed_->state.stage_reports, kStateFile));
    cursor_ = {.stage_index = resumed_->state.stage_index,
               .progress = resumed_->state.progress,
               .learner = std::make_shared<OptimizerTensors>(std::move(resumed_->optimizer))};
    sequence_ = resumed_->state.sequence - cursor_.progress.step;
    saved_on_ = DeviceOf(resumed_->state.environment);
    resumed_.reset();
    if (static_cast<int64_t>(reports_.size()) == cursor_.stage_index) return absl::OkStatus();
    return absl::DataLossError(
        absl::StrCat(kStateFile, " goes on at stage ", cursor_.stage_index, " and has reports of ", reports_.size()));
  }

  // Without what the run is going to write again.
  absl::Status OpenRecords() {
    RecordsPosition position = {.resume = arguments_.resume,
                                .stages_done = {},
                                .stage = NameOf(cursor_.stage_index),
                                .step = cursor_.progress.step};
    for (const StageReport& report : reports_) position.stages_done.push_back(report.name);
    ASSIGN_OR_RETURN(records_, OpenRunRecords(arguments_.run_dir, position, guard(), surroundings_.clock));
    saver_.OnPoll([this] {
      records_.spending->Tick();
      return MayWrite(guard());
    });
    return absl::OkStatus();
  }

  // Whatever any stage that is left will need (docs/design.md law 1).
  absl::Status CheckAhead() {
    board_.SetPhase("check");
    for (const ConfiguredStage& stage : config_.stages)
      RETURN_IF_ERROR(Annotate(stage.stage->Check(models_), absl::StrCat("stage ", stage.name)));
    std::set<std::string> made;
    for (const auto& [name, policy] : policies_.made()) made.insert(name);
    ASSIGN_OR_RETURN(const std::vector<CheckedData> checked, preflight_.CheckAhead(Files(), cursor_.stage_index, made));
    Say(checked);
    // Of this rank alone: who starts several on one machine counts them (grpoctl run). Each has a device of its own.
    const MemoryPlace place = PlaceOfModels(arguments_.device);
    RETURN_IF_ERROR(CheckMemories(config_, preflight_, /*num_ranks=*/1, place, cursor_.stage_index));
    // A run that goes on has its checkpoints; when one cannot be saved, checkpoint.on_error says what follows.
    if (arguments_.resume) return absl::OkStatus();
    ASSIGN_OR_RETURN(const double need, DiskNeed(config_, preflight_));
    return CheckDisk(need, arguments_.run_dir);
  }

  static void Say(const std::vector<CheckedData>& checked) {
    for (const std::string& note : Notes(checked)) spdlog::warn("{}", note);
  }

  absl::Status RunStages() {
    RETURN_IF_ERROR(CheckAhead());
    board_.Update([&](v1::RunStatus& status) {
      status.set_state(v1::RUN_STATE_RUNNING);
      for (size_t i = 0; i < reports_.size(); ++i) ShowReport(reports_[i], status.mutable_stages(static_cast<int>(i)));
    });
    const Watchdog watchdog(collectives_, &board_, absl::Seconds(config_.trainer.stall_after_s));
    while (cursor_.stage_index < NumStages()) {
      const std::string name = NameOf(cursor_.stage_index), why = WhyLeftOut(config_, name, reports_);
      RETURN_IF_ERROR(
          Annotate(why.empty() ? RunStage(std::move(cursor_)) : LeaveOut(why), absl::StrCat("stage ", name)));
    }
    return absl::OkStatus();
  }

  // The stage at cursor_ does not run. No checkpoint says so: a resumed run finds the same reason in the reports.
  absl::Status LeaveOut(const std::string& why) {
    const ConfiguredStage& stage = config_.stages[cursor_.stage_index];
    spdlog::info("stage {} ({}) is left out: {}", stage.name, stage.type, why);
    board_.Update([&](v1::RunStatus& status) { status.set_stage_index(static_cast<int>(cursor_.stage_index)); });
    Keep(stage, {.left_out = why});
    ++cursor_.stage_index;
    return WriteSummary();
  }

  // Shows and keeps the report of the stage at which the board stands.
  void Keep(const ConfiguredStage& stage, StageReport report) {
    Identify(config_, stage.name, stage.type, &report);
    board_.UpdateStage([&](v1::StageStatus& row) { ShowReport(report, &row); });
    reports_.push_back(std::move(report));
  }

  // From `start` to the stage's end; then cursor_ is at the beginning of the next one.
  absl::Status RunStage(StageCursor start) {
    const int64_t stage_index = start.stage_index;
    const ConfiguredStage& stage = config_.stages[stage_index];
    spdlog::info("stage {} ({}) {}", stage.name, stage.type,
                 start.progress.step > 0 ? absl::StrCat("goes on at step ", start.progress.step) : "starts");
    board_.Update([&](v1::RunStatus& status) {
      status.set_stage_index(static_cast<int>(stage_index));
      status.clear_stage_remaining_seconds();
    });
    board_.UpdateStage([&](v1::StageStatus& row) {
      row.set_state(v1::STAGE_STATE_RUNNING);
      row.set_step(start.progress.step);
    });
    records_.spending->Begin(stage.name, start.progress.seconds);
    RETURN_IF_ERROR(MayWrite(guard()));
    const RunFiles files = Files();
    ASSIGN_OR_RETURN(const std::vector<CheckedData> checked, preflight_.CheckBefore(files, stage_index));
    Say(checked);
    RETURN_IF_ERROR(data_record_.MarkRead(DataReadBy(config_, stage), stage.name));
    StageContext context{.name = stage.name,
                         .config = config_,
                         .clock = surroundings_.clock,
                         .models = models_,
                         .groups = {.options = config_.coordinator,
                                    .coordinator = coordinator_,
                                    .quarantine = *records_.quarantine,
                                    .board = board_,
                                    .control = control_},
                         .board = board_,
                         .records = {.metrics = *records_.metrics, .completions = *records_.completions},
                         .files = files,
                         .saver = saver_,
                         .spending = *records_.spending};
    ASSIGN_OR_RETURN(StageReport report, stage.stage->Run(context, std::move(start)));
    FillSpent(records_.spending->End(), &report);
    FillLineage(config_, stage, reports_, &report);
    sequence_ += 1 + report.saved_steps;
    Keep(stage, std::move(report));
    RETURN_IF_ERROR(WriteSummary());
    // What comes next starts from here: the stage's work is not repeated.
    cursor_ = {.stage_index = stage_index + 1};
    return saver_.Save(absl::StrCat("at the end of ", stage.name), [this] { return cursor_; });
  }

  RunFiles Files() const { return {config_, arguments_.run_dir, arguments_.config.data_sha256, WrittenArtifacts()}; }

  // Of the data that stages have written, by artifact.
  std::map<std::string, std::string> WrittenArtifacts() const {
    std::map<std::string, std::string> written;
    for (const StageReport& report : reports_) {
      if (!report.artifact_sha256.empty()) written[report.artifact] = report.artifact_sha256;
    }
    return written;
  }

  absl::Status WriteSummary() {
    RETURN_IF_ERROR(MayWrite(guard()));
    const json summary = {{"run", {{"name", config_.run.name}, {"id", arguments_.run_id}, {"seed", config_.run.seed}}},
                          {"stages", ToJson(reports_)}};
    return WriteFileAtomically(absl::StrCat(arguments_.run_dir, "/summary.json"),
                               summary.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
  }

  absl::StatusOr<v1::CheckpointStatus> Save(const StageCursor& cursor) {
    const std::string phase = board_.Snapshot().phase();
    board_.SetPhase("save");
    records_.spending->Save();
    absl::StatusOr<v1::CheckpointStatus> saved = SaveSnapshot(cursor);
    board_.SetPhase(phase);
    if (saved.ok()) board_.SetCheckpoint(*saved);
    if (!saved.ok()) board_.SetCheckpointError(std::string(saved.status().message()));
    return saved;
  }

  absl::StatusOr<v1::CheckpointStatus> SaveSnapshot(const StageCursor& cursor) {
    Snapshot snapshot;
    snapshot.resolved_yaml = arguments_.config.resolved_yaml;
    snapshot.optimizer = OptimizerTensors::Of(cursor);
    CheckpointState& state = snapshot.state;
    state.run_id = arguments_.run_id;
    state.epoch = epoch_;
    state.sequence = sequence_ + cursor.progress.step;
    state.stage_index = cursor.stage_index;
    state.stage = NameOf(cursor.stage_index);
    state.progress = cursor.progress;
    state.stage_reports = ToJson(reports_);
    state.config_sha256 = arguments_.config.sha256;
    state.data_sha256 = arguments_.config.data_sha256;
    state.environment = Surrounding(arguments_, *collectives_);
    ASSIGN_OR_RETURN(snapshot.policies, policies_.Trained());
    ASSIGN_OR_RETURN(state.frozen_policies, policies_.Frozen());
    ASSIGN_OR_RETURN(const auto files, SnapshotToFiles(snapshot));
    ASSIGN_OR_RETURN(const std::string name, checkpoints_.Save(state.sequence, files));
    v1::CheckpointStatus status;
    status.set_stage(state.stage);
    status.set_step(cursor.progress.step);
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
    RecordRunEnd(guard(), arguments_.run_dir, board_.Snapshot());
    control_.End();
    coordinator_.End();
    if (server_ == nullptr) return;
    absl::SleepFor(surroundings_.farewell);
    server_->Shutdown();
  }

  RunGuard* guard() const { return arguments_.guard.get(); }
  int64_t NumStages() const { return static_cast<int64_t>(config_.stages.size()); }
  // Empty behind the last stage.
  std::string NameOf(int64_t stage_index) const {
    return stage_index < NumStages() ? config_.stages[stage_index].name : "";
  }

  const RunArguments arguments_;
  Collectives* const collectives_;
  const RunSurroundings surroundings_;
  const RunConfig& config_;
  PolicyStore policies_;
  CheckpointStore checkpoints_;
  std::optional<Snapshot> resumed_;
  DataRecord data_record_;
  Preflight preflight_;
  const int64_t epoch_;
  Coordinator coordinator_;
  StatusBoard board_;
  RunControl control_;
  RunModels models_;
  RunSaver saver_;
  CoordinatorService coordinator_service_;
  TrainerServiceImpl trainer_service_;
  RunRecords records_;
  // Null where the run has none of its own.
  std::unique_ptr<rpc::CertificateKeeper> certificates_;
  std::unique_ptr<rpc::Server> server_;
  // Where it serves; empty before.
  Endpoint endpoint_;
  // The kind of device of the checkpoint that the run goes on from; empty without one.
  std::string saved_on_;
  std::unique_ptr<LocalWeights> local_weights_;
  // Where the next stage begins, or goes on.
  StageCursor cursor_;
  // CheckpointStore's order: what is done before the running stage.
  int64_t sequence_ = 0;
  // Of the stages that are done, in order.
  std::vector<StageReport> reports_;
};

}  // namespace

absl::Status ExecuteRun(RunArguments arguments, Collectives* collectives, const RunSurroundings& surroundings) {
  const std::string endpoint_path = RunEndpointPath(arguments.run_dir);
  const std::shared_ptr<RunGuard> guard = arguments.guard;
  // Left by a trainer that was killed: nobody is to call a dead address until this one serves.
  RemoveEndpoint(endpoint_path);
  RemoveRunEnd(arguments.run_dir);
  const absl::Cleanup withdraw = [&] {
    // Of a folder that another has taken it is the other's.
    if (guard == nullptr || guard->IsOurs()) RemoveEndpoint(endpoint_path);
  };
  std::optional<Snapshot> resumed;
  if (arguments.resume) {
    ASSIGN_OR_RETURN(resumed, LoadCheckpoint(arguments.run_dir, arguments.config, Surrounding(arguments, *collectives),
                                             arguments.allow_other_device));
  }
  RETURN_IF_ERROR(MakeFolders(arguments.run_dir));
  ASSIGN_OR_RETURN(DataRecord data_record, OpenDataRecord(arguments.run_dir, arguments.config, arguments.resume,
                                                          resumed.has_value() ? &resumed->state : nullptr));
  return Run(std::move(arguments), collectives, std::move(resumed), std::move(data_record), surroundings).Execute();
}

}  // namespace grpo
