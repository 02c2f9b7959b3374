#include "coordinator/service.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/rpc/check_message.h"
#include "common/rpc/server.h"
#include "common/status_macros.h"

namespace grpo {
namespace {

template <typename Response>
absl::Status Answer(absl::StatusOr<Response> result, Response* response) {
  if (!result.ok()) return result.status();
  *response = *std::move(result);
  return absl::OkStatus();
}

}  // namespace

grpc::Status CoordinatorService::Register(grpc::ServerContext* context, const v1::RegisterRequest* request,
                                          v1::RegisterResponse* response) {
  return rpc::Handle(context, *request, [&] {
    const absl::Status status = Answer(coordinator_.Register(*request), response);
    if (status.ok()) {
      spdlog::info("{} registered from {} as {}", request->worker_name(), context->peer(), response->worker_id());
    } else {
      spdlog::warn("{} at {} was not registered: {}", request->worker_name(), context->peer(),
                   std::string(status.message()));
    }
    return status;
  });
}

grpc::Status CoordinatorService::LeaseGroups(grpc::ServerContext* context, const v1::LeaseGroupsRequest* request,
                                             v1::LeaseGroupsResponse* response) {
  return rpc::Handle(context, *request, [&]() -> absl::Status {
    ASSIGN_OR_RETURN(const auto call, lease_calls_.Begin(context));
    const absl::Status status = Answer(coordinator_.LeaseGroups(*request), response);
    LogNotices();
    return status;
  });
}

grpc::Status CoordinatorService::SubmitCompletion(grpc::ServerContext* context,
                                                  grpc::ServerReader<v1::SubmitCompletionRequest>* reader,
                                                  v1::SubmitCompletionResponse* response) {
  return rpc::Handle(context, [&] {
    const absl::Status status = Submit(*context, *reader, response);
    if (!status.ok()) spdlog::warn("a group from {} was refused: {}", context->peer(), std::string(status.message()));
    return status;
  });
}

grpc::Status CoordinatorService::PullWeights(grpc::ServerContext* context, const v1::PullWeightsRequest* request,
                                             grpc::ServerWriter<v1::PullWeightsResponse>* writer) {
  return rpc::Handle(context, *request, [&] { return SendWeights(*context, *request, *writer); });
}

grpc::Status CoordinatorService::Heartbeat(grpc::ServerContext* context, const v1::HeartbeatRequest* request,
                                           v1::HeartbeatResponse* response) {
  return rpc::Handle(context, *request, [&] {
    const absl::Status status = Answer(coordinator_.Heartbeat(*request), response);
    LogNotices();
    return status;
  });
}

void CoordinatorService::LogNotices() {
  for (const std::string& notice : coordinator_.TakeNotices()) spdlog::error("{}", notice);
}

grpc::Status CoordinatorService::RegisterRewardServer(grpc::ServerContext* context,
                                                      const v1::RegisterRewardServerRequest* request,
                                                      v1::RegisterRewardServerResponse* response) {
  return rpc::Handle(context, *request, [&] {
    const absl::Status status = Answer(coordinator_.RegisterRewardServer(*request), response);
    if (!status.ok()) {
      spdlog::warn("the reward server at {} was not registered: {}", context->peer(), std::string(status.message()));
    } else if (request->leaving()) {
      spdlog::info("{} at {} leaves", request->name(), request->address());
    } else if (response->is_new()) {
      spdlog::info("{} serves at {}", request->name(), request->address());
    }
    return status;
  });
}

absl::Status CoordinatorService::Submit(grpc::ServerContext& context,
                                        grpc::ServerReader<v1::SubmitCompletionRequest>& reader,
                                        v1::SubmitCompletionResponse* response) {
  ASSIGN_OR_RETURN(const auto call, submissions_.Begin(&context));
  v1::SubmitCompletionRequest message;
  const auto read = [&] { return reader.Read(&message); };
  if (!call->OnWire(read) || !message.has_header()) {
    return absl::InvalidArgumentError("the first message of a submission must be its header");
  }
  RETURN_IF_ERROR(rpc::CheckMessage(message));
  const v1::SubmitHeader header = std::move(*message.mutable_header());
  std::vector<v1::ScoredCompletion> completions;
  int64_t num_bytes = 0;
  while (call->OnWire(read)) {
    if (!message.has_completion()) {
      return absl::InvalidArgumentError("a submission holds one header, then only completions");
    }
    if (static_cast<int64_t>(completions.size()) >= header.num_completions()) {
      return absl::InvalidArgumentError(
          absl::StrCat("more completions came than the ", header.num_completions(), " that num_completions announces"));
    }
    // Counted in memory, not on the wire: messages without content would be free there.
    num_bytes += static_cast<int64_t>(message.SpaceUsedLong());
    if (num_bytes > kMaxSubmissionBytes) {
      // Not ResourceExhausted, which would be tried again: the group will not become smaller.
      return absl::InvalidArgumentError(absl::StrCat("the group takes more than ", kMaxSubmissionBytes,
                                                     " bytes: lower num_completions or max_new_tokens"));
    }
    RETURN_IF_ERROR(rpc::CheckMessage(message));
    completions.push_back(std::move(*message.mutable_completion()));
  }
  if (context.IsCancelled()) {
    return absl::CancelledError("the stream broke off before the group was whole: hand it in again");
  }
  return Answer(coordinator_.Submit(header, std::move(completions)), response);
}

absl::Status CoordinatorService::SendWeights(grpc::ServerContext& context, const v1::PullWeightsRequest& request,
                                             grpc::ServerWriter<v1::PullWeightsResponse>& writer) {
  ASSIGN_OR_RETURN(const auto call, pulls_.Begin(&context));
  ASSIGN_OR_RETURN(const std::shared_ptr<const WeightSource> weights, coordinator_.Weights(request.policy()));
  const int64_t end = weights->manifest().payload_bytes();
  if (request.offset_bytes() < 0 || request.offset_bytes() > end) {
    return absl::InvalidArgumentError(
        absl::StrCat("offset_bytes is ", request.offset_bytes(), ", the payload has ", end, " bytes: start at 0"));
  }
  ASSIGN_OR_RETURN(const WeightSource::Reader reader, weights->Open());
  const absl::Status gone = absl::CancelledError("the worker left during the transfer");
  v1::PullWeightsResponse message;
  *message.mutable_manifest() = weights->manifest();
  const auto write = [&] { return writer.Write(message); };
  if (!call->OnWire(write)) return gone;
  for (int64_t offset = request.offset_bytes(); offset < end; offset += kChunkBytes) {
    message.mutable_chunk()->set_offset_bytes(offset);
    std::string& data = *message.mutable_chunk()->mutable_data();
    data.resize(static_cast<size_t>(std::min(kChunkBytes, end - offset)));
    RETURN_IF_ERROR(reader.Read(offset, absl::MakeSpan(data)));
    if (!call->OnWire(write)) return gone;
  }
  return absl::OkStatus();
}

}  // namespace grpo
