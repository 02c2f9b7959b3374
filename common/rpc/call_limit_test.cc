#include "common/rpc/call_limit.h"

#include <string>

#include "common/mutex.h"
#include "common/rpc/client.h"
#include "common/rpc/server.h"
#include "common/status_macros.h"
#include "common/status_testing.h"
#include "proto/coordinator.grpc.pb.h"

namespace grpo::rpc {
namespace {

// So long that it stands for ever.
constexpr absl::Duration kDeadline = absl::Seconds(60);

// SubmitCompletion reads, and PullWeights writes, without end.
class EndlessService : public v1::Coordinator::Service {
 public:
  grpc::Status SubmitCompletion(grpc::ServerContext* context, grpc::ServerReader<v1::SubmitCompletionRequest>* reader,
                                v1::SubmitCompletionResponse*) override {
    return Handle(context, [&]() -> absl::Status {
      ASSIGN_OR_RETURN(const auto call, limit.Begin(context));
      v1::SubmitCompletionRequest message;
      while (call->OnWire([&] { return reader->Read(&message); })) {
      }
      return absl::OkStatus();
    });
  }
  grpc::Status PullWeights(grpc::ServerContext* context, const v1::PullWeightsRequest*,
                           grpc::ServerWriter<v1::PullWeightsResponse>* writer) override {
    return Handle(context, [&]() -> absl::Status {
      ASSIGN_OR_RETURN(const auto call, limit.Begin(context));
      v1::PullWeightsResponse message;
      message.mutable_chunk()->set_data(std::string(1 << 20, 'x'));
      while (call->OnWire([&] { return writer->Write(message); })) {
      }
      ended_writing.Notify();
      return absl::OkStatus();
    });
  }

  CallLimit limit{{.method = "Endless", .max_calls = 1, .patience = absl::Milliseconds(200)}};
  Notification ended_writing;
};

class EndlessServiceTest : public ::testing::Test {
 protected:
  EndlessServiceTest() {
    server_ = *Server::Start({}, {&service_});
    client_ = *Client::Create(server_->address());
    stub_ = v1::Coordinator::NewStub(client_->channel());
  }

  EndlessService service_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<Client> client_;
  std::unique_ptr<v1::Coordinator::Stub> stub_;
};

TEST(CallLimitTest, WhatIsBeyondTheLimitIsRefusedUntilACallEnds) {
  CallLimit limit({.method = "WatchStatus", .max_calls = 2});
  grpc::ServerContext contexts[3];
  ASSERT_OK_AND_ASSIGN(const auto first, limit.Begin(&contexts[0]));
  ASSERT_OK_AND_ASSIGN(auto second, limit.Begin(&contexts[1]));
  EXPECT_STATUS(limit.Begin(&contexts[2]), absl::StatusCode::kResourceExhausted,
                "WatchStatus: 2 calls are under way, more are not taken");
  second.reset();
  EXPECT_OK(limit.Begin(&contexts[2]));
}

TEST_F(EndlessServiceTest, ACallerThatSendsNothingIsCancelled) {
  CallContext context(*client_, kDeadline);
  v1::SubmitCompletionResponse response;
  const auto writer = stub_->SubmitCompletion(&context, &response);
  EXPECT_EQ(writer->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(EndlessServiceTest, ACallerThatDoesNotReadIsCancelled) {
  CallContext context(*client_, kDeadline);
  const auto reader = stub_->PullWeights(&context, v1::PullWeightsRequest());
  EXPECT_TRUE(service_.ended_writing.WaitFor(kDeadline / 2));
  context.TryCancel();
  reader->Finish();
}

}  // namespace
}  // namespace grpo::rpc
