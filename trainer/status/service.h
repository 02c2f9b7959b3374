// TrainerService on the wire: status from the board, control to the training thread.
#ifndef GRPO_TRAINER_STATUS_SERVICE_H_
#define GRPO_TRAINER_STATUS_SERVICE_H_

#include <string>

#include "proto/trainer.grpc.pb.h"
#include "trainer/status/control.h"
#include "trainer/status/status_board.h"

namespace grpo {

// Thread-safe; everything it is given outlives it.
class TrainerServiceImpl final : public v1::TrainerService::Service {
 public:
  TrainerServiceImpl(StatusBoard* board, RunControl* control, std::string resolved_yaml, std::string config_sha256);

  grpc::Status GetStatus(grpc::ServerContext* context, const v1::GetStatusRequest* request,
                         v1::RunStatus* response) override;
  grpc::Status WatchStatus(grpc::ServerContext* context, const v1::WatchStatusRequest* request,
                           grpc::ServerWriter<v1::RunStatus>* writer) override;
  grpc::Status Pause(grpc::ServerContext* context, const v1::PauseRequest* request,
                     v1::ControlResponse* response) override;
  grpc::Status Resume(grpc::ServerContext* context, const v1::ResumeRequest* request,
                      v1::ControlResponse* response) override;
  grpc::Status SaveCheckpoint(grpc::ServerContext* context, const v1::SaveCheckpointRequest* request,
                              v1::SaveCheckpointResponse* response) override;
  grpc::Status Stop(grpc::ServerContext* context, const v1::StopRequest* request,
                    v1::ControlResponse* response) override;
  grpc::Status GetConfig(grpc::ServerContext* context, const v1::GetConfigRequest* request,
                         v1::GetConfigResponse* response) override;

 private:
  // FailedPrecondition once the run has ended.
  absl::Status CheckNotEnded() const;

  StatusBoard* const board_;
  RunControl* const control_;
  const std::string resolved_yaml_, config_sha256_;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_STATUS_SERVICE_H_
