// The Coordinator on the wire (proto/coordinator.proto): streams are bounded here, everything else is decided by
// Coordinator.
#ifndef GRPO_COORDINATOR_SERVICE_H_
#define GRPO_COORDINATOR_SERVICE_H_

#include "common/rpc/call_limit.h"
#include "coordinator/coordinator.h"
#include "proto/coordinator.grpc.pb.h"

namespace grpo {

// Thread-safe. Each method's errors are those of the Coordinator's method behind it; a caller without the server's
// token gets Unauthenticated. A call of LeaseGroups holds a thread while it waits.
class CoordinatorService final : public v1::Coordinator::Service {
 public:
  // Of a weights payload per message.
  static constexpr int64_t kChunkBytes = int64_t{1} << 20;
  // Of one submission, as it lies in memory; above it InvalidArgument, since the group will not become smaller.
  // 16 completions of 32,768 tokens take 8 MiB.
  static constexpr int64_t kMaxSubmissionBytes = int64_t{256} << 20;

  // Calls under way at a time; LeaseGroups waits for work, the others for their streams. More than there are workers on
  // a large run, and less than the server's threads together.
  static constexpr size_t kMaxLeaseCalls = 384, kMaxSubmissions = 192, kMaxPulls = 192;

  // `coordinator` must outlive the service.
  explicit CoordinatorService(Coordinator* coordinator) : coordinator_(*coordinator) {}

  grpc::Status Register(grpc::ServerContext* context, const v1::RegisterRequest* request,
                        v1::RegisterResponse* response) override;
  grpc::Status LeaseGroups(grpc::ServerContext* context, const v1::LeaseGroupsRequest* request,
                           v1::LeaseGroupsResponse* response) override;
  // A header, then its completions, one a message. InvalidArgument for another order or more than the header announces;
  // Cancelled when the stream broke off or sent nothing for a minute, and then nothing was taken.
  grpc::Status SubmitCompletion(grpc::ServerContext* context, grpc::ServerReader<v1::SubmitCompletionRequest>* reader,
                                v1::SubmitCompletionResponse* response) override;
  // The manifest, then the payload from offset_bytes on in chunks. NotFound for a version that is not kept,
  // InvalidArgument for an offset outside the payload, Unavailable when the version is retired on the way: pull the
  // next.
  grpc::Status PullWeights(grpc::ServerContext* context, const v1::PullWeightsRequest* request,
                           grpc::ServerWriter<v1::PullWeightsResponse>* writer) override;
  grpc::Status Heartbeat(grpc::ServerContext* context, const v1::HeartbeatRequest* request,
                         v1::HeartbeatResponse* response) override;
  grpc::Status RegisterRewardServer(grpc::ServerContext* context, const v1::RegisterRewardServerRequest* request,
                                    v1::RegisterRewardServerResponse* response) override;

 private:
  // The bodies of SubmitCompletion and PullWeights.
  absl::Status Submit(grpc::ServerContext& context, grpc::ServerReader<v1::SubmitCompletionRequest>& reader,
                      v1::SubmitCompletionResponse* response);
  absl::Status SendWeights(grpc::ServerContext& context, const v1::PullWeightsRequest& request,
                           grpc::ServerWriter<v1::PullWeightsResponse>& writer);
  // Coordinator::TakeNotices, into the log.
  void LogNotices();

  Coordinator& coordinator_;
  rpc::CallLimit lease_calls_{{.method = "LeaseGroups", .max_calls = kMaxLeaseCalls}};
  rpc::CallLimit submissions_{{.method = "SubmitCompletion", .max_calls = kMaxSubmissions}};
  rpc::CallLimit pulls_{{.method = "PullWeights", .max_calls = kMaxPulls}};
};

}  // namespace grpo

#endif  // GRPO_COORDINATOR_SERVICE_H_
