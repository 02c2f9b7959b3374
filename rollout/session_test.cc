#include "rollout/session.h"

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/rpc/server.h"
#include "common/rpc/status.h"
#include "common/status_testing.h"
#include "common/wall_clock_testing.h"
#include "gmock/gmock.h"
#include "rollout/testing.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Answers the first registrations as the test says.
class ReluctantCoordinator : public FakeCoordinator {
 public:
  grpc::Status Register(grpc::ServerContext* context, const v1::RegisterRequest* request,
                        v1::RegisterResponse* response) override {
    {
      MutexLock lock(&mutex);
      if (!answers.empty()) {
        registrations.push_back(*request);
        const grpc::Status answer = answers.front();
        answers.pop_front();
        return answer;
      }
    }
    return FakeCoordinator::Register(context, request, response);
  }
  // OK: an answer that holds nothing.
  std::deque<grpc::Status> answers;
};

v1::LeaseKey Key(int64_t group_index, const std::string& stage = "rl", int32_t attempt = 1, int64_t epoch = 1) {
  v1::LeaseKey key;
  key.set_stage(stage);
  key.set_group_index(group_index);
  key.set_attempt(attempt);
  key.set_epoch(epoch);
  return key;
}

class SessionTest : public ::testing::Test {
 protected:
  void SetUp() override { StartCoordinator(); }
  // The session's calls end before the server does.
  void TearDown() override { session_.reset(); }

  // Where it was, if it was there before.
  void StartCoordinator() {
    rpc::ServerOptions options;
    if (!address_.empty()) options.port = std::stoi(address_.substr(address_.rfind(':') + 1));
    ASSERT_OK_AND_ASSIGN(server_, rpc::Server::Start(options, {&coordinator_}));
    address_ = server_->address();
  }

  void Join(std::vector<std::string> weight_channels = {"grpc"}) {
    ASSERT_OK_AND_ASSIGN(client_, rpc::Client::Create(address_));
    session_ = std::make_unique<Session>(client_, Session::Identity{.run_id = "run",
                                                                    .config_sha256 = "abc",
                                                                    .worker_name = "rollout-0",
                                                                    .worker_attempt = 3,
                                                                    .weight_channels = std::move(weight_channels)});
  }

  // Whether a heartbeat comes of which this holds.
  bool WaitForHeartbeat(const std::function<bool(const v1::HeartbeatRequest&)>& holds) {
    return coordinator_.Wait([&] { return holds(coordinator_.heartbeat); });
  }
  // Two heartbeats that begin after now: the first may have been made before.
  void WaitForTwoHeartbeats() {
    for (int i = 0; i < 2; ++i) {
      {
        MutexLock lock(&coordinator_.mutex);
        coordinator_.heartbeat.Clear();
      }
      ASSERT_TRUE(WaitForHeartbeat([](const v1::HeartbeatRequest& request) { return !request.worker_id().empty(); }));
    }
  }
  size_t NumRegistrations() {
    MutexLock lock(&coordinator_.mutex);
    return coordinator_.registrations.size();
  }

  ReluctantCoordinator coordinator_;
  std::string address_;
  std::unique_ptr<rpc::Server> server_;
  std::shared_ptr<rpc::Client> client_;
  std::unique_ptr<Session> session_;
};

TEST(LeaseNameTest, SaysWhatMakesALeaseThisOne) {
  EXPECT_EQ(LeaseName(Key(17, "r1_zero", 2, 5)), "r1_zero/17 attempt 2 epoch 5");
}

TEST_F(SessionTest, RegistersAsWhatItIs) {
  Join();
  EXPECT_EQ(session_->WorkerId(), "worker-1");
  EXPECT_EQ(session_->WeightChannelName(), "grpc") << "what an answer that names none means";
  MutexLock lock(&coordinator_.mutex);
  ASSERT_EQ(coordinator_.registrations.size(), 1u);
  const v1::RegisterRequest& request = coordinator_.registrations[0];
  EXPECT_EQ(request.role(), "rollout_worker");
  EXPECT_EQ(request.run_id(), "run");
  EXPECT_EQ(request.config_sha256(), "abc");
  EXPECT_EQ(request.worker_name(), "rollout-0");
  EXPECT_EQ(request.worker_attempt(), 3);
  EXPECT_THAT(request.weight_channels(), ElementsAre("grpc"));
}

TEST_F(SessionTest, TakesTheWeightChannelThatTheCoordinatorPicks) {
  coordinator_.weight_channel = "shm";
  Join({"shm", "grpc"});
  EXPECT_EQ(session_->WeightChannelName(), "shm");
}

TEST_F(SessionTest, AWeightChannelThatWasNotOfferedEndsTheSessionWithBothSides) {
  coordinator_.weight_channel = "rdma";
  Join({"shm", "grpc"});
  EXPECT_EQ(session_->WeightChannelName(), "");
  EXPECT_STATUS(session_->status(), absl::StatusCode::kFailedPrecondition,
                "the coordinator picked the weight channel rdma, this worker offered shm, grpc: start both with the "
                "same build");
}

TEST_F(SessionTest, ARefusalEndsTheSessionAndSaysWhoRefused) {
  for (const grpc::StatusCode code : {grpc::StatusCode::FAILED_PRECONDITION, grpc::StatusCode::INVALID_ARGUMENT,
                                      grpc::StatusCode::UNAUTHENTICATED, grpc::StatusCode::PERMISSION_DENIED}) {
    {
      MutexLock lock(&coordinator_.mutex);
      coordinator_.answers = {{code, "another run"}};
    }
    Join();
    EXPECT_EQ(session_->WorkerId(), "");
    EXPECT_TRUE(session_->ended());
    EXPECT_STATUS(session_->status(), static_cast<absl::StatusCode>(code),
                  "the coordinator at " + address_ + " refused this worker");
    EXPECT_THAT(std::string(session_->status().message()), HasSubstr("another run"));
    session_.reset();
  }
  EXPECT_EQ(NumRegistrations(), 4u) << "each was asked once";
}

// Neither a coordinator that is starting nor one that fails, nor an answer without an id, ends a worker.
TEST_F(SessionTest, WhatMayPassIsTriedAgain) {
  coordinator_.answers = {
      {grpc::StatusCode::UNAVAILABLE, "starting"}, {grpc::StatusCode::INTERNAL, "a bug"}, grpc::Status::OK};
  Join();
  EXPECT_EQ(session_->WorkerId(), "worker-4");
  EXPECT_OK(session_->status());
}

TEST_F(SessionTest, ACoordinatorThatComesLateIsFound) {
  server_.reset();
  Join();
  EXPECT_FALSE(session_->WaitForEnd(absl::ZeroDuration()));
  StartCoordinator();
  EXPECT_EQ(session_->WorkerId(), "worker-1");
}

TEST_F(SessionTest, WhoeverWaitsForARegistrationHearsOfTheEnd) {
  server_.reset();
  Join();
  std::string worker_id = "not answered", channel = "not answered";
  std::thread waiter([&] {
    worker_id = session_->WorkerId();
    channel = session_->WeightChannelName();
  });
  session_->End(absl::CancelledError("enough"));
  waiter.join();
  EXPECT_EQ(worker_id, "");
  EXPECT_EQ(channel, "");
}

TEST_F(SessionTest, HeartbeatsRenewWhatIsTracked) {
  Join();
  session_->Track(10, Key(1));
  session_->Track(11, Key(2));
  EXPECT_TRUE(session_->IsActive(10));
  EXPECT_TRUE(WaitForHeartbeat([](const auto& request) { return request.active_size() == 2; }));
  session_->Untrack(10);
  EXPECT_FALSE(session_->IsActive(10));
  EXPECT_TRUE(WaitForHeartbeat(
      [](const auto& request) { return request.active_size() == 1 && request.active(0).group_index() == 2; }));
}

TEST_F(SessionTest, ALostLeaseIsToldOnceAndNoLongerRenewed) {
  Join();
  session_->Track(10, Key(1));
  session_->Track(11, Key(2));
  session_->SetBlocked(10, "reward server unreachable");
  {
    MutexLock lock(&coordinator_.mutex);
    coordinator_.lost = {Key(1), Key(99)};
  }
  EXPECT_TRUE(WaitForHeartbeat([](const auto& request) {
    return request.active_size() == 1 && request.active(0).group_index() == 2 && request.blocked_reason().empty();
  }));
  EXPECT_FALSE(session_->IsActive(10));
  EXPECT_TRUE(session_->IsActive(11));
  EXPECT_THAT(session_->TakeLost(), ElementsAre(10));
  EXPECT_THAT(session_->TakeLost(), IsEmpty());
}

// A lease of the same group that another attempt, epoch or stage holds is another's affair.
TEST_F(SessionTest, WhatIsLostIsThisAttemptOfThisEpochAlone) {
  Join();
  session_->Track(10, Key(1, "rl", 2, 3));
  {
    MutexLock lock(&coordinator_.mutex);
    coordinator_.lost = {Key(1, "rl", 1, 3), Key(1, "rl", 2, 2), Key(1, "eval", 2, 3), Key(0, "rl", 2, 3)};
  }
  WaitForTwoHeartbeats();
  EXPECT_TRUE(session_->IsActive(10));
  EXPECT_THAT(session_->TakeLost(), IsEmpty());
}

TEST_F(SessionTest, TheLongestBlockedLeaseSpeaksForTheWorker) {
  Join();
  session_->Track(10, Key(1));
  session_->Track(11, Key(2));
  session_->SetBlocked(11, "first");
  session_->SetBlocked(10, "second");
  const auto reason_is = [this](const std::string& reason) {
    return WaitForHeartbeat([&](const auto& request) { return request.blocked_reason() == reason; });
  };
  EXPECT_TRUE(reason_is("first"));
  session_->SetBlocked(11, "first, and still");
  EXPECT_TRUE(reason_is("first, and still")) << "another reason does not make it younger";
  session_->ClearBlocked(11);
  EXPECT_TRUE(reason_is("second"));
  session_->Untrack(10);
  EXPECT_TRUE(reason_is(""));
  session_->SetBlocked(10, "a lease that is not held");
  WaitForTwoHeartbeats();
  EXPECT_TRUE(reason_is(""));
}

// What others said may be in it; a heartbeat that cannot be read would lose the worker.
TEST_F(SessionTest, AReasonOfAnyBytesAndLengthIsTold) {
  Join();
  session_->Track(10, Key(1));
  session_->SetBlocked(10, "b\xff" + std::string(100'000, 'r'));
  EXPECT_TRUE(WaitForHeartbeat(
      [](const auto& request) { return request.blocked_reason() == "b\xEF\xBF\xBD" + std::string(4092, 'r'); }));
}

TEST_F(SessionTest, HeartbeatsSayWhatIsHeldAndSampled) {
  Join();
  WaitForTwoHeartbeats();
  {
    MutexLock lock(&coordinator_.mutex);
    EXPECT_FALSE(coordinator_.heartbeat.has_held_policy()) << "it holds none yet";
  }
  v1::PolicyRef policy;
  policy.set_policy_id("student");
  policy.set_number(4);
  session_->SetHeld(policy, "digest-4");
  session_->AddTokens(100);
  session_->AddTokens(23);
  EXPECT_TRUE(WaitForHeartbeat([](const auto& request) {
    return request.held_digest() == "digest-4" && request.held_policy().number() == 4 &&
           request.num_tokens_generated() == 123;
  }));
}

TEST_F(SessionTest, RewardServersAreThoseThatTheCoordinatorKnewOfLast) {
  coordinator_.reward_servers = {"127.0.0.1:7001"};
  Join();
  session_->WorkerId();
  EXPECT_THAT(session_->RewardServers(), ElementsAre("127.0.0.1:7001"));
  {
    MutexLock lock(&coordinator_.mutex);
    coordinator_.reward_servers = {"127.0.0.1:7002", "127.0.0.1:7003"};
  }
  WaitForTwoHeartbeats();
  EXPECT_THAT(session_->RewardServers(), ElementsAre("127.0.0.1:7002", "127.0.0.1:7003"));
  // A coordinator that was started a moment ago knows of none; the old ones are tried further.
  {
    MutexLock lock(&coordinator_.mutex);
    coordinator_.reward_servers = {};
  }
  WaitForTwoHeartbeats();
  EXPECT_THAT(session_->RewardServers(), ElementsAre("127.0.0.1:7002", "127.0.0.1:7003"));
}

TEST_F(SessionTest, ACoordinatorThatForgotTheWorkerGetsItBackWithItsLeases) {
  Join();
  EXPECT_EQ(session_->WorkerId(), "worker-1");
  session_->Track(10, Key(1));
  {
    MutexLock lock(&coordinator_.mutex);
    coordinator_.worker_id = "nobody";
  }
  EXPECT_TRUE(WaitForHeartbeat(
      [](const auto& request) { return request.worker_id() == "worker-2" && request.active_size() == 1; }));
  EXPECT_EQ(session_->WorkerId(), "worker-2");
}

TEST_F(SessionTest, SeveralCallersThatMeetTheSameAnswerRegisterOnce) {
  Join();
  EXPECT_EQ(session_->WorkerId(), "worker-1");
  EXPECT_FALSE(session_->RegisterAgainIfUnknown(absl::UnavailableError("away"), "worker-1"));
  EXPECT_FALSE(session_->RegisterAgainIfUnknown(absl::OkStatus(), "worker-1"));
  EXPECT_TRUE(session_->RegisterAgainIfUnknown(absl::NotFoundError("unknown"), "worker-1"));
  EXPECT_EQ(session_->WorkerId(), "worker-2");
  // This caller's answer is of before.
  EXPECT_TRUE(session_->RegisterAgainIfUnknown(absl::UnauthenticatedError("unknown"), "worker-1"));
  EXPECT_EQ(session_->WorkerId(), "worker-2");
  WaitForTwoHeartbeats();
  EXPECT_EQ(NumRegistrations(), 2u);
}

TEST_F(SessionTest, TheEndOfTheRunIsNoError) {
  Join();
  session_->WorkerId();
  {
    MutexLock lock(&coordinator_.mutex);
    coordinator_.run_ended = true;
  }
  EXPECT_TRUE(session_->WaitForEnd(absl::Minutes(1)));
  EXPECT_TRUE(session_->ended());
  EXPECT_OK(session_->status());
  EXPECT_EQ(session_->WorkerId(), "");
}

TEST_F(SessionTest, TheFirstReasonOfTheEndStays) {
  Join();
  session_->End(absl::DataLossError("the weights broke"));
  session_->End(absl::InternalError("and so did the rest"));
  session_->RunEnded();
  EXPECT_STATUS(session_->status(), absl::StatusCode::kDataLoss, "the weights broke");
}

// A worker that is stopped gives its leases back at once; one whose run has ended has none to give.
TEST_F(SessionTest, AnAbortedWorkerSaysThatItLeaves) {
  Join();
  session_->WorkerId();
  session_->Track(10, Key(1));
  session_->End(absl::AbortedError("SIGTERM"));
  EXPECT_TRUE(WaitForHeartbeat([](const auto& request) { return request.leaving() && request.active_size() == 1; }));
}

TEST_F(SessionTest, AWorkerThatEndsOtherwiseDoesNotLeave) {
  Join();
  session_->WorkerId();
  session_->Track(10, Key(1));
  session_->End(absl::OkStatus());
  session_.reset();
  MutexLock lock(&coordinator_.mutex);
  EXPECT_FALSE(coordinator_.heartbeat.leaving());
}

TEST_F(SessionTest, TheEndCancelsCallsThatAreUnderWay) {
  Join();
  const std::string worker_id = session_->WorkerId();
  absl::Status status;
  std::thread caller([&] {
    v1::LeaseGroupsRequest request;
    request.set_worker_id(worker_id);
    request.set_max_groups(1);
    request.set_wait_ms(60'000);
    rpc::CallContext context(*client_, absl::Minutes(2));
    const InFlightCalls::Scope scope(&session_->calls(), &context);
    v1::LeaseGroupsResponse response;
    status = rpc::FromGrpc(v1::Coordinator::NewStub(client_->channel())->LeaseGroups(&context, request, &response));
  });
  // Whether the call has begun or not, it ends as soon as the session has.
  session_->End(absl::OkStatus());
  caller.join();
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
}

// Issue 18, attack 38: pauses that begin while the clock is ahead outlast its being set back. The last test: gRPC's
// own timers do.
TEST_F(SessionTest, HeartbeatsGoOnWhenTheWallClockIsSetBack) {
  Join();
  {
    const WallClockStep ahead(absl::Hours(1));
    WaitForTwoHeartbeats();
  }
  WaitForTwoHeartbeats();
}

}  // namespace
}  // namespace grpo
