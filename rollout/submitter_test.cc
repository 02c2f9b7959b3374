#include "rollout/submitter.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/rpc/server.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "rollout/testing.h"

namespace grpo {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Answers the next submissions as the test says, whatever they hold.
class ReluctantCoordinator : public FakeCoordinator {
 public:
  grpc::Status SubmitCompletion(grpc::ServerContext* context, grpc::ServerReader<v1::SubmitCompletionRequest>* reader,
                                v1::SubmitCompletionResponse* response) override {
    {
      MutexLock lock(&mutex);
      ++num_calls;
      if (!answers.empty()) {
        const grpc::Status answer = answers.front();
        answers.pop_front();
        return answer;
      }
    }
    return FakeCoordinator::SubmitCompletion(context, reader, response);
  }
  grpc::Status Heartbeat(grpc::ServerContext* context, const v1::HeartbeatRequest* request,
                         v1::HeartbeatResponse* response) override {
    {
      MutexLock lock(&mutex);
      ever_blocked = ever_blocked || !request->blocked_reason().empty();
    }
    return FakeCoordinator::Heartbeat(context, request, response);
  }
  std::deque<grpc::Status> answers;
  int num_calls = 0;
  bool ever_blocked = false;
};

// Group `index` with completions "a", "bb", "ccc", ... as many as asked for; its lease is the session's 100 + index.
FinishedGroup Group(int64_t index, int num_completions = 2) {
  FinishedGroup group;
  group.lease_id = 100 + index;
  group.lease.mutable_key()->set_stage("rl");
  group.lease.mutable_key()->set_group_index(index);
  group.lease.mutable_key()->set_attempt(2);
  group.lease.mutable_key()->set_epoch(1);
  group.lease.mutable_reward()->set_name("profile");
  group.lease.mutable_prompt()->set_text("1+1");
  group.policy_digest = "digest-7";
  group.prompt_ids = {5, 6};
  group.generate_seconds = 0.25;
  for (int i = 0; i < num_completions; ++i) {
    v1::Completion& completion = group.completions.emplace_back();
    completion.set_index(i);
    completion.set_text(std::string(i + 1, static_cast<char>('a' + i)));
  }
  return group;
}

class SubmitterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(coordinator_server_, rpc::Server::Start({}, {&coordinator_}));
    ASSERT_OK_AND_ASSIGN(reward_server_, rpc::Server::Start({}, {&reward_}));
    coordinator_.reward_servers = {reward_server_->address()};
  }
  // Calls end before the servers do.
  void TearDown() override {
    submitter_.reset();
    session_.reset();
  }

  void Start() {
    ASSERT_OK_AND_ASSIGN(const auto client, rpc::Client::Create(coordinator_server_->address()));
    session_ = std::make_unique<Session>(
        client, Session::Identity{
                    .run_id = "run", .config_sha256 = "", .worker_name = "rollout-0", .weight_channels = {"grpc"}});
    session_->WorkerId();
    submitter_ = std::make_unique<Submitter>(
        session_.get(), client,
        std::make_unique<ScoreClient>(rpc::ClientOptions{}, absl::Minutes(1), &session_->calls()));
  }

  void Add(FinishedGroup group) {
    session_->Track(group.lease_id, group.lease.key());
    submitter_->Add(std::move(group));
  }
  // Everything that was added is handed in, or dropped.
  bool WaitUntilEmpty() { return submitter_->WaitBelow(1, absl::Minutes(1)); }
  bool WaitForBlocked(const std::string& reason) {
    return coordinator_.Wait([&] { return coordinator_.heartbeat.blocked_reason().find(reason) != std::string::npos; });
  }
  std::vector<FakeCoordinator::Submission> Submissions() {
    MutexLock lock(&coordinator_.mutex);
    return coordinator_.submissions;
  }
  size_t NumScoreCalls() {
    MutexLock lock(&reward_.mutex);
    return reward_.headers.size();
  }
  void Answer(std::deque<grpc::Status> answers) {
    MutexLock lock(&coordinator_.mutex);
    coordinator_.answers = std::move(answers);
  }

  ReluctantCoordinator coordinator_;
  FakeRewardServer reward_;
  std::unique_ptr<rpc::Server> coordinator_server_, reward_server_;
  std::unique_ptr<Session> session_;
  std::unique_ptr<Submitter> submitter_;
};

TEST_F(SubmitterTest, AGroupIsHandedInWithTheScoreOfEachCompletion) {
  Start();
  Add(Group(3, 3));
  ASSERT_TRUE(WaitUntilEmpty());
  const auto submissions = Submissions();
  ASSERT_THAT(submissions, SizeIs(1));
  const auto& [header, completions] = submissions[0];
  EXPECT_EQ(header.worker_id(), "worker-1");
  EXPECT_EQ(LeaseName(header.key()), "rl/3 attempt 2 epoch 1");
  EXPECT_EQ(header.policy_digest(), "digest-7");
  EXPECT_THAT(header.prompt_ids(), ::testing::ElementsAre(5, 6));
  EXPECT_EQ(header.num_completions(), 3);
  EXPECT_EQ(header.generate_seconds(), 0.25);
  EXPECT_GT(header.score_seconds(), 0);
  EXPECT_EQ(header.error(), "");
  ASSERT_THAT(completions, SizeIs(3));
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(completions[i].completion().index(), i);
    // The fake's score is the length of the text; it answers in another order.
    EXPECT_EQ(completions[i].score().value(), i + 1);
  }
  EXPECT_FALSE(session_->IsActive(103)) << "the lease is done";
  MutexLock lock(&reward_.mutex);
  EXPECT_EQ(reward_.headers.at(0).profile().name(), "profile");
  EXPECT_EQ(reward_.headers.at(0).prompt().text(), "1+1");
}

TEST_F(SubmitterTest, ManyGroupsComeOnceEach) {
  Start();
  for (int64_t i = 0; i < 20; ++i) Add(Group(i));
  ASSERT_TRUE(WaitUntilEmpty());
  std::vector<int64_t> indices;
  for (const auto& submission : Submissions()) indices.push_back(submission.header.key().group_index());
  std::sort(indices.begin(), indices.end());
  ASSERT_THAT(indices, SizeIs(20));
  for (int64_t i = 0; i < 20; ++i) EXPECT_EQ(indices[i], i);
}

// It cannot be produced by anybody: the coordinator hears why, and no rule is asked.
TEST_F(SubmitterTest, AGroupThatCannotBeProducedIsHandedInWithItsError) {
  Start();
  FinishedGroup group = Group(3, 0);
  group.error = "the prompt has no tokens";
  Add(std::move(group));
  ASSERT_TRUE(coordinator_.Wait([this] { return !coordinator_.submissions.empty(); }));
  const auto submissions = Submissions();
  EXPECT_EQ(submissions[0].header.error(), "the prompt has no tokens");
  EXPECT_EQ(submissions[0].header.num_completions(), 0);
  EXPECT_THAT(submissions[0].completions, IsEmpty());
  EXPECT_EQ(NumScoreCalls(), 0u);
}

TEST_F(SubmitterTest, ARewardServerThatIsAwayHoldsTheGroupAndNothingIsMadeUp) {
  const std::string address = reward_server_->address();
  reward_server_.reset();
  Start();
  Add(Group(3));
  ASSERT_TRUE(WaitForBlocked("reward server " + address + " unreachable"));
  EXPECT_TRUE(session_->IsActive(103)) << "its lease is renewed meanwhile";
  EXPECT_FALSE(submitter_->WaitBelow(2, absl::ZeroDuration()));
  EXPECT_THAT(Submissions(), IsEmpty());
  // Another one comes, at another address.
  ASSERT_OK_AND_ASSIGN(reward_server_, rpc::Server::Start({}, {&reward_}));
  {
    MutexLock lock(&coordinator_.mutex);
    coordinator_.reward_servers = {reward_server_->address()};
  }
  ASSERT_TRUE(WaitUntilEmpty());
  EXPECT_THAT(Submissions(), SizeIs(1));
  EXPECT_TRUE(coordinator_.Wait([this] { return coordinator_.heartbeat.blocked_reason().empty(); }));
}

TEST_F(SubmitterTest, WithoutAnyRewardServerItSaysSo) {
  coordinator_.reward_servers = {};
  Start();
  Add(Group(3));
  EXPECT_TRUE(WaitForBlocked("no reward server is registered yet: start one with --coordinator, or read its log"));
  EXPECT_THAT(Submissions(), IsEmpty());
}

TEST_F(SubmitterTest, AnAddressThatCannotBeUsedIsNamed) {
  coordinator_.reward_servers = {"nonsense"};
  Start();
  Add(Group(3));
  EXPECT_TRUE(WaitForBlocked("reward server nonsense: address \"nonsense\" is not HOST:PORT"));
}

// One of two being away is no reason to wait, nor to tell anybody.
TEST_F(SubmitterTest, TheOtherRewardServerIsAskedAtOnce) {
  const std::string away = reward_server_->address();
  ASSERT_OK_AND_ASSIGN(const auto other, rpc::Server::Start({}, {&reward_}));
  reward_server_.reset();
  coordinator_.reward_servers = {away, other->address()};
  Start();
  for (int64_t i = 0; i < 4; ++i) {
    Add(Group(i));
    ASSERT_TRUE(WaitUntilEmpty());
  }
  EXPECT_THAT(Submissions(), SizeIs(4));
  MutexLock lock(&coordinator_.mutex);
  EXPECT_FALSE(coordinator_.ever_blocked);
}

TEST_F(SubmitterTest, AGroupWhoseLeaseIsLostWhileItWaitsIsDropped) {
  reward_server_.reset();
  Start();
  Add(Group(3));
  ASSERT_TRUE(WaitForBlocked("unreachable"));
  {
    MutexLock lock(&coordinator_.mutex);
    coordinator_.lost = {Group(3).lease.key()};
  }
  ASSERT_TRUE(WaitUntilEmpty());
  EXPECT_THAT(Submissions(), IsEmpty());
  EXPECT_OK(session_->status());
}

TEST_F(SubmitterTest, AGroupWhoseLeaseWasLostBeforeIsNotScored) {
  Start();
  submitter_->Add(Group(3));  // not tracked: gone
  ASSERT_TRUE(WaitUntilEmpty());
  EXPECT_EQ(NumScoreCalls(), 0u);
  EXPECT_THAT(Submissions(), IsEmpty());
}

TEST_F(SubmitterTest, ARefusedGroupIsDroppedAndTheWorkerGoesOn) {
  Start();
  Answer({{grpc::StatusCode::FAILED_PRECONDITION, "the attempt is not the one that holds the group"}});
  Add(Group(3));
  ASSERT_TRUE(WaitUntilEmpty());
  EXPECT_THAT(Submissions(), IsEmpty());
  EXPECT_FALSE(session_->ended());
  Add(Group(4));
  ASSERT_TRUE(WaitUntilEmpty());
  EXPECT_THAT(Submissions(), SizeIs(1));
}

// Any worker of this build would hand in the same: the next attempt must not come to the same end.
TEST_F(SubmitterTest, ASubmissionThatMakesNoSenseToTheCoordinatorEndsTheWorker) {
  for (const grpc::StatusCode code : {grpc::StatusCode::INVALID_ARGUMENT, grpc::StatusCode::UNIMPLEMENTED}) {
    Start();
    Answer({{code, "completion 1 has no spans"}});
    Add(Group(3));
    ASSERT_TRUE(session_->WaitForEnd(absl::Minutes(1)));
    EXPECT_STATUS(session_->status(), static_cast<absl::StatusCode>(code), "submitting group rl/3 attempt 2 epoch 1");
    EXPECT_THAT(std::string(session_->status().message()), HasSubstr("completion 1 has no spans"));
    submitter_.reset();
    session_.reset();
  }
  EXPECT_THAT(Submissions(), IsEmpty());
}

TEST_F(SubmitterTest, WhatMayPassIsTriedAgainWithoutScoringAgain) {
  Start();
  Answer({{grpc::StatusCode::UNAVAILABLE, "starting"}, {grpc::StatusCode::RESOURCE_EXHAUSTED, "no room"}});
  Add(Group(3));
  ASSERT_TRUE(WaitUntilEmpty());
  EXPECT_THAT(Submissions(), SizeIs(1));
  EXPECT_EQ(NumScoreCalls(), 1u);
  MutexLock lock(&coordinator_.mutex);
  EXPECT_EQ(coordinator_.num_calls, 3);
}

TEST_F(SubmitterTest, ACoordinatorThatForgotTheWorkerGetsTheGroupUnderItsNewName) {
  Start();
  {
    MutexLock lock(&coordinator_.mutex);
    coordinator_.worker_id = "nobody";
  }
  Add(Group(3));
  ASSERT_TRUE(WaitUntilEmpty());
  const auto submissions = Submissions();
  ASSERT_THAT(submissions, SizeIs(1));
  EXPECT_EQ(submissions[0].header.worker_id(), "worker-2");
}

TEST_F(SubmitterTest, WaitsForRoomInCompletions) {
  reward_server_.reset();
  Start();
  EXPECT_TRUE(submitter_->WaitBelow(1, absl::ZeroDuration()));
  Add(Group(0, 3));
  Add(Group(1, 4));
  EXPECT_TRUE(submitter_->WaitBelow(8, absl::ZeroDuration()));
  EXPECT_FALSE(submitter_->WaitBelow(7, absl::Milliseconds(1)));
}

TEST_F(SubmitterTest, TheEndOfTheSessionAbandonsWhatWaits) {
  reward_server_.reset();
  Start();
  for (int64_t i = 0; i < 9; ++i) Add(Group(i));
  ASSERT_TRUE(WaitForBlocked("unreachable"));
  submitter_.reset();
  EXPECT_TRUE(session_->ended());
  EXPECT_OK(session_->status());
  EXPECT_THAT(Submissions(), IsEmpty());
}

}  // namespace
}  // namespace grpo
