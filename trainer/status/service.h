// TrainerService on the wire: status from the board, control to the training thread.
#ifndef GRPO_TRAINER_STATUS_SERVICE_H_
#define GRPO_TRAINER_STATUS_SERVICE_H_

#include <string>

#include "common/rpc/call_limit.h"
#include "proto/trainer.grpc.pb.h"
#include "trainer/status/control.h"
#include "trainer/status/status_board.h"

namespace grpo {

// Thread-safe; everything it is given outlives it.
class TrainerServiceImpl final : public v1::TrainerService::Service {
 public:
  // Calls under way at a time.
  static constexpr size_t kMaxWatchers = 64, kMaxSaves = 16;

  // What GetConfig answers: LoadedConfig's resolved_yaml and sha256.
  TrainerServiceImpl(StatusBoard* board, RunControl* control, std::string resolved_yaml, std::string config_sha256);

  // StatusBoard::Snapshot, at any time until the server stops. Never waits for a step.
  grpc::Status GetStatus(grpc::ServerContext* context, const v1::GetStatusRequest* request,
                         v1::RunStatus* response) override;
  // A snapshot at once, then one at each change, no more often than the request's min_interval_ms says (100 by default,
  // 250 at most), and a few times a second without one; the terminal state is the last. Holds a thread until then, or
  // until the caller leaves: ResourceExhausted beyond kMaxWatchers, and a caller that does not read is cancelled.
  grpc::Status WatchStatus(grpc::ServerContext* context, const v1::WatchStatusRequest* request,
                           grpc::ServerWriter<v1::RunStatus>* writer) override;
  // Pause, Resume, SaveCheckpoint and Stop: FailedPrecondition once the run has ended. The state in the answer is that
  // after the request was noted, not after it took effect.
  grpc::Status Pause(grpc::ServerContext* context, const v1::PauseRequest* request,
                     v1::ControlResponse* response) override;
  grpc::Status Resume(grpc::ServerContext* context, const v1::ResumeRequest* request,
                      v1::ControlResponse* response) override;
  // Waits for the save, for the call's deadline or 10 minutes at most. RunControl::SaveCheckpoint's errors, and the
  // save's; ResourceExhausted beyond kMaxSaves.
  grpc::Status SaveCheckpoint(grpc::ServerContext* context, const v1::SaveCheckpointRequest* request,
                              v1::SaveCheckpointResponse* response) override;
  grpc::Status Stop(grpc::ServerContext* context, const v1::StopRequest* request,
                    v1::ControlResponse* response) override;
  // The resolved configuration as YAML, and its hash.
  grpc::Status GetConfig(grpc::ServerContext* context, const v1::GetConfigRequest* request,
                         v1::GetConfigResponse* response) override;

 private:
  // FailedPrecondition once the run has ended.
  absl::Status CheckNotEnded() const;

  StatusBoard* const board_;
  RunControl* const control_;
  const std::string resolved_yaml_, config_sha256_;
  rpc::CallLimit watchers_{{.method = "WatchStatus", .max_calls = kMaxWatchers}};
  rpc::CallLimit saves_{{.method = "SaveCheckpoint", .max_calls = kMaxSaves}};
};

}  // namespace grpo

#endif  // GRPO_TRAINER_STATUS_SERVICE_H_
