#include "trainer/status/service.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/rpc/server.h"
#include "common/status_macros.h"
#include "trainer/status/run_state.h"

namespace grpo {
namespace {

// A watcher that hears nothing new gets a snapshot all the same: time, workers and what blocks them move on.
constexpr absl::Duration kWatchHeartbeat = absl::Milliseconds(250);
constexpr absl::Duration kSaveTimeout = absl::Minutes(10);

}  // namespace

TrainerServiceImpl::TrainerServiceImpl(StatusBoard* board, RunControl* control, std::string resolved_yaml,
                                       std::string config_sha256)
    : board_(board),
      control_(control),
      resolved_yaml_(std::move(resolved_yaml)),
      config_sha256_(std::move(config_sha256)) {}

absl::Status TrainerServiceImpl::CheckNotEnded() const {
  const v1::RunState state = board_->Snapshot().state();
  if (!IsTerminal(state)) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("the run has ended: ", v1::RunState_Name(state)));
}

grpc::Status TrainerServiceImpl::GetStatus(grpc::ServerContext* context, const v1::GetStatusRequest* request,
                                           v1::RunStatus* response) {
  return rpc::Handle(context, *request, [&]() -> absl::Status {
    *response = board_->Snapshot();
    return absl::OkStatus();
  });
}

grpc::Status TrainerServiceImpl::WatchStatus(grpc::ServerContext* context, const v1::WatchStatusRequest* request,
                                             grpc::ServerWriter<v1::RunStatus>* writer) {
  return rpc::Handle(context, *request, [&]() -> absl::Status {
    ASSIGN_OR_RETURN(const auto call, watchers_.Begin(context));
    const absl::Duration interval =
        absl::Milliseconds(request->min_interval_ms() > 0 ? request->min_interval_ms() : 100);
    v1::RunStatus status = board_->Snapshot();
    while (!context->IsCancelled() && call->OnWire([&] { return writer->Write(status); }) &&
           !IsTerminal(status.state())) {
      absl::SleepFor(std::min(interval, kWatchHeartbeat));
      status = board_->WaitForChange(status.sequence(), kWatchHeartbeat);
    }
    return absl::OkStatus();
  });
}

grpc::Status TrainerServiceImpl::Pause(grpc::ServerContext* context, const v1::PauseRequest* request,
                                       v1::ControlResponse* response) {
  return rpc::Handle(context, *request, [&]() -> absl::Status {
    RETURN_IF_ERROR(CheckNotEnded());
    control_->Pause(request->reason().empty() ? "paused on request; `grpoctl resume` goes on" : request->reason());
    response->set_state(board_->Snapshot().state());
    return absl::OkStatus();
  });
}

grpc::Status TrainerServiceImpl::Resume(grpc::ServerContext* context, const v1::ResumeRequest* request,
                                        v1::ControlResponse* response) {
  return rpc::Handle(context, *request, [&]() -> absl::Status {
    RETURN_IF_ERROR(CheckNotEnded());
    control_->Resume();
    response->set_state(board_->Snapshot().state());
    return absl::OkStatus();
  });
}

grpc::Status TrainerServiceImpl::SaveCheckpoint(grpc::ServerContext* context, const v1::SaveCheckpointRequest* request,
                                                v1::SaveCheckpointResponse* response) {
  return rpc::Handle(context, *request, [&]() -> absl::Status {
    RETURN_IF_ERROR(CheckNotEnded());
    ASSIGN_OR_RETURN(const auto call, saves_.Begin(context));
    ASSIGN_OR_RETURN(*response->mutable_checkpoint(),
                     control_->SaveCheckpoint(std::min(kSaveTimeout, rpc::TimeLeft(*context))));
    return absl::OkStatus();
  });
}

grpc::Status TrainerServiceImpl::Stop(grpc::ServerContext* context, const v1::StopRequest* request,
                                      v1::ControlResponse* response) {
  return rpc::Handle(context, *request, [&]() -> absl::Status {
    RETURN_IF_ERROR(CheckNotEnded());
    control_->Stop();
    board_->Update([](v1::RunStatus& status) {
      if (!IsTerminal(status.state())) status.set_state(v1::RUN_STATE_STOPPING);
    });
    response->set_state(board_->Snapshot().state());
    return absl::OkStatus();
  });
}

grpc::Status TrainerServiceImpl::GetConfig(grpc::ServerContext* context, const v1::GetConfigRequest* request,
                                           v1::GetConfigResponse* response) {
  return rpc::Handle(context, *request, [&]() -> absl::Status {
    response->set_resolved_yaml(resolved_yaml_);
    response->set_sha256(config_sha256_);
    return absl::OkStatus();
  });
}

}  // namespace grpo
