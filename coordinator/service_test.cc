#include "coordinator/service.h"

#include <atomic>
#include <thread>

#include "common/rpc/client.h"
#include "common/rpc/server.h"
#include "common/status_testing.h"
#include "coordinator/testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kMiB = int64_t{1} << 20;

class ServiceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(server_, rpc::Server::Start({}, {&service_}));
    ASSERT_OK_AND_ASSIGN(client_, rpc::Client::Create(server_->address()));
    stub_ = v1::Coordinator::NewStub(client_->channel());
    coordinator_.Publish(TestWeights(7));
  }

  template <typename Request, typename Response>
  grpc::Status Call(grpc::Status (v1::Coordinator::Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                    const Request& request, Response* response) {
    rpc::CallContext context(*client_, absl::Seconds(30));
    return (stub_.get()->*method)(&context, request, response);
  }

  v1::Lease RegisterAndLease(int32_t num_completions) {
    EXPECT_OK(coordinator_.Offer({TestGroup("rl", 0, num_completions)}));
    v1::RegisterResponse registered;
    EXPECT_TRUE(Call(&v1::Coordinator::Stub::Register, TestWorker("rollout-0"), &registered).ok());
    worker_id_ = registered.worker_id();
    v1::LeaseGroupsRequest request;
    request.set_worker_id(worker_id_);
    request.set_max_groups(1);
    v1::LeaseGroupsResponse leased;
    EXPECT_TRUE(Call(&v1::Coordinator::Stub::LeaseGroups, request, &leased).ok());
    EXPECT_EQ(leased.leases_size(), 1);
    return leased.leases(0);
  }

  // Sends these messages as one submission; a server that refuses early ends the stream under the writer.
  grpc::Status Send(const std::vector<v1::SubmitCompletionRequest>& messages, v1::SubmitCompletionResponse* response) {
    rpc::CallContext context(*client_, absl::Seconds(30));
    const auto writer = stub_->SubmitCompletion(&context, response);
    for (const v1::SubmitCompletionRequest& message : messages) {
      if (!writer->Write(message)) break;
    }
    writer->WritesDone();
    return writer->Finish();
  }

  std::vector<v1::SubmitCompletionRequest> MessagesFor(const v1::Lease& lease) {
    std::vector<v1::SubmitCompletionRequest> messages(1);
    *messages[0].mutable_header() = TestHeader(lease, worker_id_);
    for (v1::ScoredCompletion& completion : TestCompletions(lease))
      *messages.emplace_back().mutable_completion() = completion;
    return messages;
  }

  struct Pulled {
    grpc::Status status;
    v1::WeightsManifest manifest;
    std::string payload;
    int64_t first_offset = -1, largest_chunk = 0;
  };
  Pulled Pull(int64_t number, int64_t offset) {
    v1::PullWeightsRequest request;
    request.mutable_policy()->set_policy_id("model");
    request.mutable_policy()->set_number(number);
    request.set_offset_bytes(offset);
    rpc::CallContext context(*client_, absl::Seconds(30));
    const auto reader = stub_->PullWeights(&context, request);
    Pulled pulled;
    v1::PullWeightsResponse message;
    int64_t next = offset;
    for (bool first = true; reader->Read(&message); first = false) {
      EXPECT_EQ(message.has_manifest(), first);
      if (first) {
        pulled.manifest = message.manifest();
        continue;
      }
      if (pulled.first_offset < 0) pulled.first_offset = message.chunk().offset_bytes();
      EXPECT_EQ(message.chunk().offset_bytes(), next);
      next += static_cast<int64_t>(message.chunk().data().size());
      pulled.largest_chunk = std::max<int64_t>(pulled.largest_chunk, message.chunk().data().size());
      pulled.payload += message.chunk().data();
    }
    pulled.status = reader->Finish();
    return pulled;
  }

  FakeClock clock_;
  Coordinator coordinator_{CoordinatorOptions{}, {.run_id = "run-a", .config_sha256 = "abc", .epoch = 3}, clock_};
  CoordinatorService service_{&coordinator_};
  std::unique_ptr<rpc::Server> server_;
  std::shared_ptr<rpc::Client> client_;
  std::unique_ptr<v1::Coordinator::Stub> stub_;
  std::string worker_id_;
};

std::string CountingBytes(int64_t size) {
  std::string bytes(static_cast<size_t>(size), '\0');
  for (int64_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 31 + i / 4096);
  return bytes;
}

TEST_F(ServiceTest, SendsTheManifestThenThePayloadInChunksAndResumesAtAnOffset) {
  const std::string payload = CountingBytes(2 * kMiB + kMiB / 2 + 3);
  coordinator_.Publish(TestWeights(8, payload));
  const Pulled whole = Pull(8, 0);
  ASSERT_TRUE(whole.status.ok()) << whole.status.error_message();
  EXPECT_EQ(whole.manifest.digest(), "digest-8");
  EXPECT_EQ(whole.largest_chunk, kMiB);
  EXPECT_TRUE(whole.payload == payload);

  const int64_t offset = kMiB + 17;
  const Pulled rest = Pull(8, offset);
  ASSERT_TRUE(rest.status.ok());
  EXPECT_EQ(rest.manifest.digest(), "digest-8");
  EXPECT_EQ(rest.first_offset, offset);
  EXPECT_TRUE(rest.payload == payload.substr(offset));
  // Nothing was missing but the end.
  const Pulled nothing = Pull(8, static_cast<int64_t>(payload.size()));
  EXPECT_TRUE(nothing.status.ok());
  EXPECT_EQ(nothing.payload, "");
}

TEST_F(ServiceTest, RefusesWeightsThatAreNotKeptAndOffsetsOutsideThePayload) {
  EXPECT_EQ(Pull(6, 0).status.error_code(), grpc::StatusCode::NOT_FOUND);
  const Pulled beyond = Pull(7, 8);
  EXPECT_EQ(beyond.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(beyond.status.error_message(), HasSubstr("offset_bytes is 8, the payload has 7 bytes"));
  EXPECT_EQ(Pull(7, -1).status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(ServiceTest, ATransferThatIsTooSlowIsCutOffWhenTheWeightsAreToChange) {
  // More than the sockets and gRPC hold on the way.
  const auto weights = TestWeights(8, std::string(static_cast<size_t>(64 * kMiB), 'x'));
  coordinator_.Publish(weights);
  v1::PullWeightsRequest request;
  request.mutable_policy()->set_policy_id("model");
  request.mutable_policy()->set_number(8);
  rpc::CallContext context(*client_, absl::Seconds(60));
  const auto reader = stub_->PullWeights(&context, request);
  v1::PullWeightsResponse message;
  ASSERT_TRUE(reader->Read(&message));
  ASSERT_TRUE(reader->Read(&message));
  EXPECT_GE(weights->Retire(absl::Milliseconds(20)), absl::Milliseconds(20));
  int64_t num_bytes = 0;
  while (reader->Read(&message)) num_bytes += static_cast<int64_t>(message.chunk().data().size());
  EXPECT_LT(num_bytes, 63 * kMiB);
  const grpc::Status status = reader->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(status.error_message(), HasSubstr("version 8 of policy model is being trained on"));
  EXPECT_EQ(Pull(8, 0).status.error_code(), grpc::StatusCode::UNAVAILABLE);
  coordinator_.Publish(TestWeights(9));
  EXPECT_EQ(Pull(8, 0).status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_TRUE(Pull(9, 0).status.ok());
}

TEST_F(ServiceTest, TakesAGroupOnceAndAnswersDuplicateAfter) {
  const v1::Lease lease = RegisterAndLease(3);
  v1::SubmitCompletionResponse response;
  const grpc::Status status = Send(MessagesFor(lease), &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.result(), v1::SUBMIT_RESULT_ACCEPTED);
  ASSERT_TRUE(Send(MessagesFor(lease), &response).ok());
  EXPECT_EQ(response.result(), v1::SUBMIT_RESULT_DUPLICATE);
  ASSERT_OK_AND_ASSIGN(const auto groups, coordinator_.Collect("rl", 0, 1, absl::ZeroDuration()));
  EXPECT_EQ(groups[0].completions.size(), 3u);
}

TEST_F(ServiceTest, TakesTheSamePushOnceHoweverOftenFourThreadsSendIt) {
  constexpr int kThreads = 4, kPushes = 100;
  const v1::Lease lease = RegisterAndLease(3);
  const std::vector<v1::SubmitCompletionRequest> messages = MessagesFor(lease);
  std::atomic<int> num_accepted = 0, num_duplicate = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kPushes / kThreads; ++i) {
        v1::SubmitCompletionResponse response;
        const grpc::Status status = Send(messages, &response);
        ASSERT_TRUE(status.ok()) << status.error_message();
        ++(response.result() == v1::SUBMIT_RESULT_ACCEPTED ? num_accepted : num_duplicate);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(num_accepted, 1);
  EXPECT_EQ(num_duplicate, kPushes - 1);
  const v1::LeaseCounters counters = coordinator_.Counters();
  EXPECT_EQ(counters.num_ready(), 1);
  EXPECT_EQ(counters.num_duplicate_total(), kPushes - 1);
  EXPECT_EQ(counters.num_refused_total(), 0);
  ASSERT_OK_AND_ASSIGN(const auto groups, coordinator_.Collect("rl", 0, 1, absl::ZeroDuration()));
  ASSERT_EQ(groups.size(), 1u);
  EXPECT_EQ(groups[0].completions.size(), 3u);
}

TEST_F(ServiceTest, RefusesAResultThatComesAfterItsLeaseWentToAnother) {
  const v1::Lease lease = RegisterAndLease(3);
  ASSERT_OK_AND_ASSIGN(const v1::RegisterResponse other, coordinator_.Register(TestWorker("rollout-1")));
  clock_.Advance(absl::Seconds(31));
  v1::LeaseGroupsRequest request;
  request.set_worker_id(other.worker_id());
  request.set_max_groups(1);
  ASSERT_OK_AND_ASSIGN(const v1::LeaseGroupsResponse again, coordinator_.LeaseGroups(request));
  ASSERT_EQ(again.leases_size(), 1);
  v1::SubmitCompletionResponse response;
  const grpc::Status late = Send(MessagesFor(lease), &response);
  EXPECT_EQ(late.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(late.error_message(), HasSubstr("attempt 1 at group 0 of stage \"rl\" ran out and attempt 2"));
  EXPECT_EQ(coordinator_.Counters().num_refused_total(), 1);
  EXPECT_EQ(coordinator_.Counters().num_ready(), 0);
}

TEST_F(ServiceTest, TakesAGroupAboveTheMessageCap) {
  const v1::Lease lease = RegisterAndLease(3);
  std::vector<v1::SubmitCompletionRequest> messages = MessagesFor(lease);
  for (int i = 1; i <= 3; ++i)
    messages[i].mutable_completion()->mutable_completion()->set_text(std::string(3 * kMiB, 'x'));
  v1::SubmitCompletionResponse response;
  const grpc::Status status = Send(messages, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.result(), v1::SUBMIT_RESULT_ACCEPTED);
}

TEST_F(ServiceTest, RefusesStreamsOutOfOrderOrTooLong) {
  const v1::Lease lease = RegisterAndLease(2);
  const std::vector<v1::SubmitCompletionRequest> good = MessagesFor(lease);
  v1::SubmitCompletionResponse response;
  const auto expect_refused = [&](const std::vector<v1::SubmitCompletionRequest>& messages, const std::string& text) {
    const grpc::Status status = Send(messages, &response);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_THAT(status.error_message(), HasSubstr(text));
  };
  expect_refused({}, "must be its header");
  expect_refused({good[1], good[0]}, "must be its header");
  expect_refused({good[0], good[1], good[0]}, "one header");
  expect_refused({good[0], good[1], good[2], good[2]}, "more completions came than the 2");
  expect_refused({good[0], good[1]}, "1 came, the lease asks for 2");
  ASSERT_TRUE(Send(good, &response).ok());
  EXPECT_EQ(response.result(), v1::SUBMIT_RESULT_ACCEPTED);
}

TEST_F(ServiceTest, BoundsTheBytesOfOneSubmission) {
  const v1::Lease lease = RegisterAndLease(2);
  std::vector<v1::SubmitCompletionRequest> messages(1);
  *messages[0].mutable_header() = TestHeader(lease, worker_id_);
  messages[0].mutable_header()->set_num_completions(1 << 30);
  v1::SubmitCompletionRequest large;
  large.mutable_completion()->mutable_completion()->set_text(std::string(4 * kMiB - 1024, 'x'));
  for (int64_t sent = 0; sent <= CoordinatorService::kMaxSubmissionBytes; sent += 4 * kMiB - 1024)
    messages.push_back(large);
  v1::SubmitCompletionResponse response;
  EXPECT_EQ(Send(messages, &response).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(ServiceTest, ErrorsKeepTheirCodeAndWordsOnTheWire) {
  v1::HeartbeatResponse beat;
  EXPECT_EQ(Call(&v1::Coordinator::Stub::Heartbeat, v1::HeartbeatRequest(), &beat).error_code(),
            grpc::StatusCode::NOT_FOUND);
  v1::RegisterRequest stranger = TestWorker("rollout-0");
  stranger.set_run_id("run-b");
  v1::RegisterResponse registered;
  const grpc::Status status = Call(&v1::Coordinator::Stub::Register, stranger, &registered);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), HasSubstr("run_id is run-b, this coordinator's is run-a"));
}

}  // namespace
}  // namespace grpo
