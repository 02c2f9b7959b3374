#include "rollout/worker.h"

#include <limits>
#include <thread>

#include "common/rpc/server.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "rollout/scripted_generator.h"
#include "rollout/testing.h"
#include "rollout/tiny_policy.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class WorkerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    coordinator_.weights[1] = TinyWeights(1);
    coordinator_server_ = *rpc::Server::Start({}, {&coordinator_});
    StartReward({});
  }

  // At `address`, or wherever the system chooses.
  void StartReward(const std::string& address) {
    rpc::ServerOptions options;
    if (!address.empty()) options.port = std::stoi(address.substr(address.rfind(':') + 1));
    reward_server_ = *rpc::Server::Start(options, {&reward_});
    reward_address_ = reward_server_->address();
    MutexLock lock(&coordinator_.mutex);
    coordinator_.reward_servers = {reward_address_};
  }

  void StopReward() { reward_server_.reset(); }

  void StartWorker() { StartWorker(MakeDefaultGenerator); }
  void StartScriptedWorker() { StartWorker(ScriptedGenerator::Factory(&script_)); }
  template <typename Factory>
  void StartWorker(Factory make_generator) {
    WorkerOptions options = {
        .coordinator = coordinator_server_->address(),
        .identity = {.run_id = "run", .config_sha256 = "abc", .worker_name = "rollout-0", .worker_attempt = 3},
        .rollout = {},
        .client = {},
        .make_generator = make_generator};
    options.rollout.slots = 8;
    worker_ = *Worker::Create(options);
    thread_ = std::thread([this] { status_ = worker_->Run(); });
  }

  // How Run ended.
  absl::Status Join() {
    thread_.join();
    worker_.reset();
    return status_;
  }

  absl::Status EndRun() {
    {
      MutexLock lock(&coordinator_.mutex);
      coordinator_.run_ended = true;
    }
    return Join();
  }

  bool WaitForEvent(const std::string& event) {
    return script_.Wait([&] { return script_.Has(event); });
  }

  void SetHold(bool hold) {
    MutexLock lock(&script_.mutex);
    script_.hold = hold;
  }

  bool WaitForSubmissions(size_t count) {
    return coordinator_.Wait([&] { return coordinator_.submissions.size() >= count; });
  }

  // The only submission for a group; call when nothing runs any more.
  const FakeCoordinator::Submission& Of(int64_t group_index) {
    const FakeCoordinator::Submission* found = nullptr;
    for (const FakeCoordinator::Submission& submission : coordinator_.submissions) {
      if (submission.header.key().group_index() != group_index) continue;
      EXPECT_EQ(found, nullptr) << "group " << group_index << " came twice";
      found = &submission;
    }
    EXPECT_NE(found, nullptr) << "group " << group_index << " never came";
    static const FakeCoordinator::Submission nothing;
    return found == nullptr ? nothing : *found;
  }

  FakeCoordinator coordinator_;
  FakeRewardServer reward_;
  GeneratorScript script_;
  std::unique_ptr<rpc::Server> coordinator_server_, reward_server_;
  std::string reward_address_;
  std::unique_ptr<Worker> worker_;
  std::thread thread_;
  absl::Status status_;
};

TEST_F(WorkerTest, LeasesSamplesScoresAndSubmitsUntilTheRunEnds) {
  for (int64_t group = 0; group < 5; ++group) coordinator_.Offer(TinyLease(group));
  StartWorker();
  ASSERT_TRUE(WaitForSubmissions(5));
  EXPECT_OK(EndRun());
  const v1::RegisterRequest& registration = coordinator_.registrations.at(0);
  EXPECT_EQ(registration.role(), "rollout_worker");
  EXPECT_EQ(registration.worker_name(), "rollout-0");
  EXPECT_EQ(registration.worker_attempt(), 3);
  EXPECT_EQ(registration.config_sha256(), "abc");
  const std::unique_ptr<Tokenizer> tokenizer = *Tokenizer::FromJson(kTinyTokenizer);
  for (int64_t group = 0; group < 5; ++group) {
    const auto& [header, completions] = Of(group);
    EXPECT_EQ(header.policy_digest(), coordinator_.weights[1].manifest.digest());
    EXPECT_THAT(header.prompt_ids(), ::testing::ElementsAre(1, 2, 3));
    EXPECT_EQ(header.num_completions(), 4);
    EXPECT_GT(header.generate_seconds(), 0);
    EXPECT_GT(header.score_seconds(), 0);
    ASSERT_EQ(completions.size(), 4);
    for (int32_t i = 0; i < 4; ++i) {
      const v1::Completion& completion = completions[i].completion();
      EXPECT_EQ(completion.index(), i);
      EXPECT_EQ(completion.sample_logprob_size(), completion.ids_size());
      std::vector<uint32_t> ids(completion.ids().begin(), completion.ids().end());
      if (completion.finish_reason() == v1::FINISH_REASON_STOP) ids.pop_back();
      EXPECT_EQ(completion.text(), tokenizer->Decode(ids));
      EXPECT_THAT(completion.text(), ::testing::Not(HasSubstr("<eos>")));
      EXPECT_EQ(completions[i].score().value(), completion.text().size());
    }
  }
  EXPECT_EQ(reward_.headers.at(0).profile().name(), "profile");
  EXPECT_EQ(coordinator_.pulls.size(), 1);
}

TEST_F(WorkerTest, ARewardServerThatComesLateCostsNoGroupAndNoScore) {
  StopReward();
  for (int64_t group = 0; group < 3; ++group) coordinator_.Offer(TinyLease(group));
  StartScriptedWorker();
  ASSERT_TRUE(coordinator_.Wait([&] { return coordinator_.heartbeat.blocked_for_ms() > 0; }));
  {
    MutexLock lock(&coordinator_.mutex);
    EXPECT_THAT(coordinator_.heartbeat.blocked_reason(),
                HasSubstr(absl::StrCat("reward server ", reward_address_, " unreachable")));
    EXPECT_THAT(coordinator_.submissions, IsEmpty());
  }
  // Its leases are kept alive meanwhile.
  ASSERT_TRUE(coordinator_.Wait([&] { return coordinator_.heartbeat.active_size() == 3; }));
  StartReward(reward_address_);
  ASSERT_TRUE(WaitForSubmissions(3));
  ASSERT_TRUE(coordinator_.Wait(
      [&] { return coordinator_.heartbeat.blocked_reason().empty() && coordinator_.heartbeat.active_size() == 0; }));
  EXPECT_OK(EndRun());
  for (int64_t group = 0; group < 3; ++group) {
    for (const v1::ScoredCompletion& scored : Of(group).completions) {
      EXPECT_EQ(scored.score().outcome(), v1::OUTCOME_SCORED);
      EXPECT_EQ(scored.score().value(), scored.completion().text().size());
    }
  }
}

TEST_F(WorkerTest, WithoutAnyRewardServerItIsBlockedUntilOneRegisters) {
  StopReward();
  {
    MutexLock lock(&coordinator_.mutex);
    coordinator_.reward_servers.clear();
  }
  coordinator_.Offer(TinyLease(0));
  StartWorker();
  ASSERT_TRUE(coordinator_.Wait([&] { return coordinator_.heartbeat.blocked_for_ms() > 0; }));
  {
    MutexLock lock(&coordinator_.mutex);
    EXPECT_THAT(coordinator_.heartbeat.blocked_reason(), HasSubstr("no reward server is registered yet"));
  }
  StartReward({});
  ASSERT_TRUE(WaitForSubmissions(1));
  EXPECT_OK(EndRun());
  EXPECT_EQ(reward_.headers.size(), 1);
}

TEST_F(WorkerTest, ARewardServerThatMovesIsFollowedAndASilentCoordinatorChangesNothing) {
  coordinator_.Offer(TinyLease(0));
  StartWorker();
  ASSERT_TRUE(WaitForSubmissions(1));
  StopReward();
  {
    // As one that was started anew: it knows of no reward server yet.
    MutexLock lock(&coordinator_.mutex);
    coordinator_.reward_servers.clear();
    coordinator_.worker_id = "of another life";
  }
  const std::string before = reward_address_;
  coordinator_.Offer(TinyLease(1));
  ASSERT_TRUE(coordinator_.Wait([&] { return !coordinator_.heartbeat.blocked_reason().empty(); }));
  {
    MutexLock lock(&coordinator_.mutex);
    EXPECT_THAT(coordinator_.heartbeat.blocked_reason(), HasSubstr(absl::StrCat("reward server ", before)));
  }
  StartReward({});
  ASSERT_TRUE(WaitForSubmissions(2));
  EXPECT_OK(EndRun());
  EXPECT_EQ(reward_.headers.size(), 2);
}

TEST_F(WorkerTest, ABrokenTransferOfWeightsGoesOnAtTheByteItReached) {
  const int64_t size = coordinator_.weights[1].payload.size();
  ASSERT_GT(size, 3 * FakeCoordinator::kChunkBytes);
  coordinator_.pull_faults = {{.break_after_bytes = 1000}, {.break_after_bytes = 0}, {.break_after_bytes = 2000}};
  coordinator_.Offer(TinyLease(0));
  StartWorker();
  ASSERT_TRUE(WaitForSubmissions(1));
  ASSERT_TRUE(coordinator_.Wait([&] { return !coordinator_.heartbeat.held_digest().empty(); }));
  EXPECT_OK(EndRun());
  std::vector<int64_t> offsets;
  for (const v1::PullWeightsRequest& pull : coordinator_.pulls) offsets.push_back(pull.offset_bytes());
  EXPECT_THAT(offsets, ::testing::ElementsAre(0, 1000, 1000, 3000));
  EXPECT_EQ(coordinator_.heartbeat.held_digest(), coordinator_.weights[1].manifest.digest());
  EXPECT_EQ(coordinator_.heartbeat.held_policy().number(), 1);
}

TEST_F(WorkerTest, WeightsThatDoNotVerifyAreNeverUsedAndFetchedAgain) {
  coordinator_.pull_faults = {{.flip_a_bit = true}};
  coordinator_.Offer(TinyLease(0));
  StartWorker();
  ASSERT_TRUE(WaitForSubmissions(1));
  EXPECT_OK(EndRun());
  ASSERT_EQ(coordinator_.pulls.size(), 2);
  EXPECT_EQ(coordinator_.pulls[1].offset_bytes(), 0);
  EXPECT_EQ(Of(0).header.policy_digest(), coordinator_.weights[1].manifest.digest());
}

TEST_F(WorkerTest, TakesTheWeightsThatEachLeaseNames) {
  coordinator_.weights[2] = TinyWeights(2);
  for (int64_t group = 0; group < 6; ++group) coordinator_.Offer(TinyLease(group, "abc", /*number=*/1 + group / 3));
  StartWorker();
  ASSERT_TRUE(WaitForSubmissions(6));
  EXPECT_OK(EndRun());
  for (int64_t group = 0; group < 6; ++group) {
    EXPECT_EQ(Of(group).header.policy_digest(), coordinator_.weights[1 + group / 3].manifest.digest());
    for (const v1::ScoredCompletion& scored : Of(group).completions) {
      ASSERT_EQ(scored.completion().spans_size(), 1);
      EXPECT_EQ(scored.completion().spans(0).policy_number(), 1 + group / 3);
    }
  }
  EXPECT_EQ(coordinator_.pulls.size(), 2);
}

TEST_F(WorkerTest, ALeaseOfAVersionThatIsGoneIsDroppedAndTheOthersGoOn) {
  coordinator_.Offer(TinyLease(0, "abc", /*number=*/9));
  coordinator_.Offer(TinyLease(1));
  StartScriptedWorker();
  ASSERT_TRUE(WaitForSubmissions(1));
  ASSERT_TRUE(coordinator_.Wait([&] { return coordinator_.heartbeat.active_size() == 0; }));
  EXPECT_OK(EndRun());
  EXPECT_EQ(coordinator_.submissions.at(0).header.key().group_index(), 1);
}

TEST_F(WorkerTest, PromptsThatCannotBeSampledAreHandedInWithTheReason) {
  coordinator_.Offer(TinyLease(0, "abXc"));
  coordinator_.Offer(TinyLease(1, std::string(30, 'a')));
  coordinator_.Offer(TinyLease(2));
  StartWorker();
  ASSERT_TRUE(WaitForSubmissions(3));
  EXPECT_OK(EndRun());
  EXPECT_THAT(Of(0).header.error(), HasSubstr("prompt train/0: the vocabulary has no token for the character \"X\""));
  EXPECT_THAT(
      Of(1).header.error(),
      HasSubstr("prompt train/1: the prompt has 30 tokens and up to 8 new ones follow, but the context holds 32"));
  EXPECT_EQ(Of(1).header.num_completions(), 0);
  EXPECT_THAT(Of(1).completions, IsEmpty());
  EXPECT_THAT(Of(2).header.error(), IsEmpty());
}

TEST_F(WorkerTest, APolicyThatDivergedIsReportedAsSuch) {
  coordinator_.weights[1] = TinyWeights(1, [](Transformer& model) {
    for (auto& [name, tensor] : model.HuggingFaceTensors()) {
      if (name == "model.norm.weight") tensor.fill_(std::numeric_limits<float>::quiet_NaN());
    }
  });
  coordinator_.Offer(TinyLease(0));
  StartWorker();
  ASSERT_TRUE(WaitForSubmissions(1));
  EXPECT_OK(EndRun());
  EXPECT_THAT(Of(0).header.error(),
              HasSubstr("policy tiny: sampling with version 1 of the policy: row 0: the logit of token 0 is"));
  EXPECT_EQ(Of(0).header.policy_digest(), coordinator_.weights[1].manifest.digest());
}

TEST_F(WorkerTest, ARefusedWorkerEndsWithTheReason) {
  coordinator_.refuse_registration = "the run is r1, the worker belongs to r2";
  StartScriptedWorker();
  EXPECT_STATUS(Join(), absl::StatusCode::kFailedPrecondition, "the run is r1, the worker belongs to r2");
}

TEST_F(WorkerTest, AForgottenWorkerRegistersAgainAndHandsInWhatItHas) {
  StopReward();
  coordinator_.Offer(TinyLease(0));
  StartScriptedWorker();
  ASSERT_TRUE(coordinator_.Wait([&] { return !coordinator_.heartbeat.blocked_reason().empty(); }));
  {
    MutexLock lock(&coordinator_.mutex);
    coordinator_.worker_id = "of another life";
  }
  ASSERT_TRUE(coordinator_.Wait([&] { return coordinator_.heartbeat.worker_id() == "worker-2"; }));
  StartReward(reward_address_);
  ASSERT_TRUE(WaitForSubmissions(1));
  EXPECT_OK(EndRun());
  EXPECT_EQ(Of(0).header.worker_id(), "worker-2");
}

TEST_F(WorkerTest, ALostLeaseIsDropped) {
  StopReward();
  coordinator_.Offer(TinyLease(0));
  StartScriptedWorker();
  ASSERT_TRUE(coordinator_.Wait([&] { return !coordinator_.heartbeat.blocked_reason().empty(); }));
  {
    MutexLock lock(&coordinator_.mutex);
    coordinator_.lost = {TinyLease(0).key()};
  }
  ASSERT_TRUE(coordinator_.Wait(
      [&] { return coordinator_.heartbeat.active_size() == 0 && coordinator_.heartbeat.blocked_reason().empty(); }));
  StartReward(reward_address_);
  coordinator_.Offer(TinyLease(1));
  ASSERT_TRUE(WaitForSubmissions(1));
  EXPECT_OK(EndRun());
  EXPECT_EQ(coordinator_.submissions.size(), 1);
  EXPECT_EQ(coordinator_.submissions[0].header.key().group_index(), 1);
}

TEST_F(WorkerTest, StopDoesNotWaitForAServerThatHangs) {
  reward_.answer = [](int64_t, grpc::ServerContext* context, std::vector<v1::ScoreResponse>& answers) {
    answers.clear();
    while (!context->IsCancelled()) std::this_thread::yield();
    return grpc::Status::CANCELLED;
  };
  coordinator_.Offer(TinyLease(0));
  StartScriptedWorker();
  ASSERT_TRUE(reward_.Wait([&] { return !reward_.headers.empty(); }));
  worker_->Stop();
  EXPECT_STATUS(Join(), absl::StatusCode::kAborted, "stopped");
  EXPECT_THAT(coordinator_.submissions, IsEmpty());
  // It says so: the lease need not run out, and the prompt is not blamed.
  EXPECT_TRUE(coordinator_.Wait([&] { return coordinator_.heartbeat.leaving(); }));
}

TEST_F(WorkerTest, RunsDryBeforeItTakesOtherWeights) {
  coordinator_.weights[2] = TinyWeights(2);
  SetHold(true);
  coordinator_.Offer(TinyLease(0, "a", /*number=*/1));
  coordinator_.Offer(TinyLease(1, "b", /*number=*/2));
  coordinator_.Offer(TinyLease(2, "c", /*number=*/2));
  StartScriptedWorker();
  ASSERT_TRUE(WaitForEvent("add a"));
  ASSERT_TRUE(coordinator_.Wait([&] { return coordinator_.heartbeat.active_size() == 3; }));
  SetHold(false);
  ASSERT_TRUE(WaitForSubmissions(3));
  EXPECT_OK(EndRun());
  EXPECT_THAT(script_.events,
              ElementsAre("make 1", "add a", "whole a", "swap 2", "add b", "add c", "whole b", "whole c"));
  EXPECT_EQ(Of(2).header.policy_digest(), coordinator_.weights[2].manifest.digest());
}

TEST_F(WorkerTest, AGroupWhoseLeaseIsLostIsCancelled) {
  SetHold(true);
  coordinator_.Offer(TinyLease(0, "a"));
  coordinator_.Offer(TinyLease(1, "b"));
  StartScriptedWorker();
  ASSERT_TRUE(WaitForEvent("add b"));
  {
    MutexLock lock(&coordinator_.mutex);
    coordinator_.lost = {TinyLease(0).key()};
  }
  ASSERT_TRUE(WaitForEvent("cancel a"));
  SetHold(false);
  ASSERT_TRUE(WaitForSubmissions(1));
  EXPECT_OK(EndRun());
  ASSERT_EQ(coordinator_.submissions.size(), 1);
  EXPECT_EQ(coordinator_.submissions[0].header.key().group_index(), 1);
}

TEST_F(WorkerTest, AGeneratorThatBlamesTheWeightsIsReplacedAndItsGroupsAreHandedInWithTheReason) {
  script_.step_errors = {absl::InvalidArgumentError("the logits are sour")};
  coordinator_.Offer(TinyLease(0, "a"));
  StartScriptedWorker();
  ASSERT_TRUE(WaitForSubmissions(1));
  coordinator_.Offer(TinyLease(1, "b"));
  ASSERT_TRUE(WaitForSubmissions(2));
  EXPECT_OK(EndRun());
  EXPECT_THAT(Of(0).header.error(), HasSubstr("policy tiny: the logits are sour; training has diverged"));
  EXPECT_THAT(Of(1).header.error(), IsEmpty());
  EXPECT_THAT(script_.events, ElementsAre("make 1", "add a", "make 1", "add b", "whole b"));
}

TEST_F(WorkerTest, AGeneratorThatCannotGoOnEndsTheWorker) {
  script_.step_errors = {absl::InternalError("out of memory")};
  coordinator_.Offer(TinyLease(0, "a"));
  StartScriptedWorker();
  EXPECT_STATUS(Join(), absl::StatusCode::kInternal, "out of memory");
  EXPECT_THAT(coordinator_.submissions, IsEmpty());
}

TEST_F(WorkerTest, HandsInWhatTheGeneratorCarriesAndNoMore) {
  script_.text_alone = true;
  coordinator_.Offer(TinyLease(0, "a"));
  StartScriptedWorker();
  ASSERT_TRUE(WaitForSubmissions(1));
  EXPECT_OK(EndRun());
  EXPECT_EQ(Of(0).header.prompt_ids_size(), 0);
  ASSERT_EQ(Of(0).completions.size(), 4);
  for (int32_t i = 0; i < 4; ++i) {
    const v1::Completion& completion = Of(0).completions[i].completion();
    EXPECT_EQ(completion.text(), absl::StrCat("a/", i));
    EXPECT_EQ(completion.finish_reason(), v1::FINISH_REASON_LENGTH);
    EXPECT_EQ(completion.ids_size() + completion.sample_logprob_size() + completion.spans_size(), 0);
  }
}

TEST_F(WorkerTest, OffersItsWeightChannelsAndUsesTheOneThatIsPicked) {
  coordinator_.weight_channel = "grpc";
  coordinator_.Offer(TinyLease(0));
  StartScriptedWorker();
  ASSERT_TRUE(WaitForSubmissions(1));
  EXPECT_OK(EndRun());
  EXPECT_THAT(coordinator_.registrations.at(0).weight_channels(), ElementsAre("memfd", "grpc"));
  EXPECT_EQ(coordinator_.pulls.size(), 1);
}

TEST_F(WorkerTest, AWeightChannelThatItDidNotOfferEndsTheWorker) {
  coordinator_.weight_channel = "carrier_pigeon";
  StartScriptedWorker();
  EXPECT_STATUS(Join(), absl::StatusCode::kFailedPrecondition,
                "the coordinator picked the weight channel carrier_pigeon, this worker offered memfd, grpc");
}

}  // namespace
}  // namespace grpo
