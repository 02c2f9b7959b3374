// What comes over a wire is checked where it comes in: every field of every message to every service, found by the
// descriptors, so that what is added to a .proto is covered. A call with one field changed is refused by that field's
// name, or taken; what was taken is stored as it was sent, and the run goes on afterwards for everybody else.
#include <atomic>
#include <cmath>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/rpc/check_message.h"
#include "common/rpc/client.h"
#include "common/rpc/server.h"
#include "common/rpc/status.h"
#include "common/status_testing.h"
#include "common/utf8.h"
#include "coordinator/coordinator.h"
#include "coordinator/service.h"
#include "coordinator/testing.h"
#include "google/protobuf/util/message_differencer.h"
#include "grpcpp/generic/generic_stub.h"
#include "proto/coordinator.pb.h"
#include "proto/reward.pb.h"
#include "proto/trainer.pb.h"
#include "reward/score_check.h"
#include "reward/service.h"
#include "tests/contract/wire_mutations.h"
#include "trainer/status/control.h"
#include "trainer/status/service.h"
#include "trainer/status/status_board.h"

namespace grpo {
namespace {

using google::protobuf::Message;
using google::protobuf::MethodDescriptor;
using google::protobuf::util::MessageDifferencer;
using Messages = std::vector<std::unique_ptr<Message>>;

constexpr char kStage[] = "rl";
constexpr int64_t kVocabulary = 8;

std::unique_ptr<Message> New(const google::protobuf::Descriptor* type) {
  return std::unique_ptr<Message>(google::protobuf::MessageFactory::generated_factory()->GetPrototype(type)->New());
}

v1::RunStatus RunningStatus() {
  v1::RunStatus status;
  status.set_state(v1::RUN_STATE_RUNNING);
  status.add_stages()->set_name(kStage);
  return status;
}

// A call of any method, by name: its status, and what it answered.
struct Answer {
  absl::Status status;
  Messages messages;
};

class WireTest : public ::testing::Test {
 protected:
  void SetUp() override {
    RewardProfileOptions profile;
    profile.rules["exact"];
    ASSERT_OK_AND_ASSIGN(reward_, RewardServiceImpl::Make({{"main", profile}}, {.threads = 1}));
    ASSERT_OK_AND_ASSIGN(server_, rpc::Server::Start({}, {&coordinator_service_, &trainer_service_, reward_.get()}));
    ASSERT_OK_AND_ASSIGN(client_, rpc::Client::Create(server_->address()));
    stub_ = std::make_unique<grpc::GenericStub>(client_->channel());
    auto vocabulary = std::make_shared<Vocabulary>();
    vocabulary->size = kVocabulary;
    vocabulary->encode_prompt = [](const std::string&) { return std::vector<uint32_t>{3}; };
    coordinator_.Publish(TestWeights(7), vocabulary);
    coordinator_.ExpectRules({{"main", {"exact"}}});
  }

  Answer Call(const MethodDescriptor& method, const Messages& requests) {
    grpc::CompletionQueue queue;
    const auto done = [&queue] {
      void* tag = nullptr;
      bool ok = false;
      return queue.Next(&tag, &ok) && ok;
    };
    rpc::CallContext context(*client_, absl::Seconds(60));
    const auto call =
        stub_->PrepareCall(&context, absl::StrCat("/", method.service()->full_name(), "/", method.name()), &queue);
    call->StartCall(nullptr);
    bool open = done();
    for (size_t i = 0; open && i < requests.size(); ++i) {
      const grpc::Slice bytes(requests[i]->SerializeAsString());
      call->Write(grpc::ByteBuffer(&bytes, 1), nullptr);
      open = done();
    }
    if (open) {
      call->WritesDone(nullptr);
      done();
    }
    Answer answer;
    while (true) {
      grpc::ByteBuffer bytes;
      call->Read(&bytes, nullptr);
      if (!done()) break;
      answer.messages.push_back(New(method.output_type()));
      grpc::Slice whole;
      EXPECT_TRUE(bytes.DumpToSingleSlice(&whole).ok());
      EXPECT_TRUE(answer.messages.back()->ParseFromArray(whole.begin(), static_cast<int>(whole.size())));
      // A stream that ends with the run: its beginning is enough.
      if (method.server_streaming() && !method.client_streaming()) context.TryCancel();
    }
    grpc::Status status;
    call->Finish(&status, nullptr);
    done();
    queue.Shutdown();
    while (done()) continue;
    answer.status = rpc::FromGrpc(context.Ended(status));
    if (absl::IsCancelled(answer.status) && !answer.messages.empty()) answer.status = absl::OkStatus();
    return answer;
  }

  // --- A good call of each method. Of one that is not here it is an empty message. ---

  Messages GoodRequests(const MethodDescriptor& method) {
    ++serial_;
    Messages requests;
    const auto add = [&](const Message& message) {
      requests.emplace_back(message.New());
      requests.back()->CopyFrom(message);
    };
    if (method.name() == "SubmitCompletion") {
      for (const v1::SubmitCompletionRequest& request : Submission()) add(request);
    } else if (method.name() == "Score") {
      for (const v1::ScoreRequest& request : Scoring()) add(request);
    } else if (method.name() == "Register") {
      add(Registration());
    } else if (method.name() == "RegisterRewardServer") {
      add(RewardRegistration());
    } else if (method.name() == "LeaseGroups") {
      v1::LeaseGroupsRequest request;
      request.set_worker_id(Join("rollout"));
      request.set_max_groups(1);
      EXPECT_OK(coordinator_.Offer({Group()}));
      add(request);
    } else if (method.name() == "Heartbeat") {
      add(Heartbeat());
    } else if (method.name() == "PullWeights") {
      v1::PullWeightsRequest request;
      request.mutable_policy()->set_policy_id("model");
      request.mutable_policy()->set_number(7);
      add(request);
    } else {
      add(*New(method.input_type()));
    }
    return requests;
  }

  std::string Join(const std::string& name) {
    const auto joined = coordinator_.Register(TestWorker(absl::StrCat(name, "-", serial_)));
    EXPECT_OK(joined);
    return joined.ok() ? joined->worker_id() : "";
  }

  // The one of this call.
  v1::Lease Group(const std::string& stage = kStage) const {
    v1::Lease group = TestGroup(stage, serial_);
    group.mutable_reward()->set_name("main");
    return group;
  }

  // Leases the group of this call to a worker of its own, which takes whatever stands before it, too.
  v1::Lease Lease(const std::string& worker_id, const std::string& stage = kStage) {
    EXPECT_OK(coordinator_.Offer({Group(stage)}));
    v1::LeaseGroupsRequest request;
    request.set_worker_id(worker_id);
    request.set_max_groups(1 << 20);
    request.set_max_completions(1 << 20);
    for (int attempt = 0; attempt < 100; ++attempt) {
      const auto leased = coordinator_.LeaseGroups(request);
      EXPECT_OK(leased);
      if (!leased.ok()) break;
      for (const v1::Lease& lease : leased->leases()) {
        if (lease.key().stage() == stage && lease.key().group_index() == serial_) return lease;
      }
    }
    ADD_FAILURE() << "group " << serial_ << " is not to be had";
    return Group(stage);
  }

  static std::vector<v1::ScoredCompletion> Completions(const v1::Lease& lease) {
    std::vector<v1::ScoredCompletion> completions = TestCompletions(lease);
    for (v1::ScoredCompletion& scored : completions) {
      v1::RuleScore& rule = *scored.mutable_score()->add_rules();
      rule.set_name("exact");
      rule.set_outcome(v1::OUTCOME_SCORED);
      rule.set_value(1);
      rule.set_weight(1);
    }
    return completions;
  }

  std::vector<v1::SubmitCompletionRequest> Submission() {
    const std::string worker_id = Join("rollout");
    const v1::Lease lease = Lease(worker_id);
    std::vector<v1::SubmitCompletionRequest> requests(1);
    *requests[0].mutable_header() = TestHeader(lease, worker_id);
    for (const v1::ScoredCompletion& scored : Completions(lease))
      *requests.emplace_back().mutable_completion() = scored;
    return requests;
  }

  static std::vector<v1::ScoreRequest> Scoring() {
    std::vector<v1::ScoreRequest> requests(2);
    requests[0].mutable_header()->mutable_profile()->set_name("main");
    requests[0].mutable_header()->mutable_prompt()->set_answer("4");
    requests[1].mutable_completion()->set_text("<answer>4</answer>");
    requests[1].mutable_completion()->add_ids(3);
    return requests;
  }

  v1::RegisterRequest Registration() const {
    v1::RegisterRequest request = TestWorker(absl::StrCat("new-", serial_));
    request.set_run_id("run-a");
    request.set_config_sha256("abc");
    request.add_weight_channels("grpc");
    return request;
  }

  v1::RegisterRewardServerRequest RewardRegistration() const {
    v1::RegisterRewardServerRequest request;
    request.set_protocol_version(kProtocolVersion);
    request.set_run_id("run-a");
    request.set_name("reward-0");
    request.set_address("127.0.0.1:1");
    request.add_profiles()->set_name("main");
    return request;
  }

  v1::HeartbeatRequest Heartbeat() {
    v1::HeartbeatRequest request;
    request.set_worker_id(Join("rollout"));
    *request.add_active() = Lease(request.worker_id()).key();
    request.mutable_held_policy()->set_policy_id("model");
    request.mutable_held_policy()->set_number(7);
    request.set_held_digest("digest-7");
    request.set_num_tokens_generated(3);
    return request;
  }

  // A call that would wait for a training step has one.
  Answer CallBesideTraining(const MethodDescriptor& method, const Messages& requests) {
    if (method.name() != "SaveCheckpoint") return Call(method, requests);
    std::atomic<bool> answered = false;
    std::thread training([&] {
      while (!answered) control_.Poll([] { return v1::CheckpointStatus(); }).IgnoreError();
    });
    Answer answer = Call(method, requests);
    answered = true;
    training.join();
    return answer;
  }

  // --- What must hold after a call, whatever it was ---

  static void ExpectRefusedByName(const absl::Status& status, const Mutation& mutation) {
    const bool is_refusal = absl::IsInvalidArgument(status) || absl::IsFailedPrecondition(status) ||
                            absl::IsNotFound(status) || absl::IsResourceExhausted(status);
    EXPECT_TRUE(is_refusal) << status;
    const bool is_named = absl::StrContains(status.message(), mutation.field) ||
                          (!mutation.parent.empty() && absl::StrContains(status.message(), mutation.parent));
    EXPECT_TRUE(is_named) << status << "\n  names neither " << mutation.field << " nor " << mutation.parent;
  }

  // A submission that was accepted: what the trainer collects is what was sent, and it can be trained on.
  void ExpectCollected(const Messages& requests) {
    const auto groups = coordinator_.Collect(kStage, serial_, 1, absl::ZeroDuration());
    ASSERT_OK(groups);
    ASSERT_EQ(groups->size(), 1u);
    const ScoredGroup& group = (*groups)[0];
    EXPECT_EQ(group.prompt_ids, std::vector<uint32_t>{3});
    EXPECT_GE(group.generate_seconds, 0);
    ASSERT_EQ(group.completions.size() + 1, requests.size());
    for (size_t i = 0; i < group.completions.size(); ++i) {
      const auto& sent = static_cast<const v1::SubmitCompletionRequest&>(*requests[i + 1]).completion();
      const v1::ScoredCompletion& stored = group.completions[i];
      EXPECT_TRUE(MessageDifferencer::Equals(stored, sent)) << stored.ShortDebugString().substr(0, 1000);
      EXPECT_OK(CheckScore(stored.score()));
      for (const uint32_t id : stored.completion().ids()) EXPECT_LT(id, kVocabulary);
      for (const float logprob : stored.completion().sample_logprob()) EXPECT_TRUE(std::isfinite(logprob));
      EXPECT_TRUE(v1::FinishReason_IsValid(stored.completion().finish_reason()));
    }
  }

  // Everybody else goes on: the status can be had and read, and a worker takes a group and hands it in.
  void ExpectTheRunGoesOn() {
    const v1::RunStatus status = board_.Snapshot();
    EXPECT_LT(status.ByteSizeLong(), size_t{4} << 20);
    EXPECT_OK(rpc::CheckMessage(status));
    for (const v1::WorkerStatus& worker : status.workers()) {
      EXPECT_TRUE(IsPrintable(worker.name())) << worker.name();
      EXPECT_GE(worker.num_tokens_generated(), 0);
      EXPECT_GE(worker.blocked_for_ms(), 0);
    }
    const std::string worker_id = Join("other");
    const v1::Lease lease = Lease(worker_id, "other");
    EXPECT_OK(coordinator_.Submit(TestHeader(lease, worker_id), Completions(lease)));
    EXPECT_OK(coordinator_.Collect("other", serial_, 1, absl::ZeroDuration()));
  }

  void CheckCall(const MethodDescriptor& method, const Messages& requests, const Mutation& mutation) {
    const Answer answer = CallBesideTraining(method, requests);
    if (!answer.status.ok()) {
      ExpectRefusedByName(answer.status, mutation);
    } else {
      for (const auto& message : answer.messages) EXPECT_OK(rpc::CheckMessage(*message));
      if (method.name() == "SubmitCompletion") ExpectCollected(requests);
    }
    ExpectTheRunGoesOn();
  }

  // All good calls of the method, then each of its messages with each of its fields changed.
  void CheckMethod(const MethodDescriptor& method) {
    SCOPED_TRACE(method.full_name());
    const Messages good = GoodRequests(method);
    EXPECT_OK(CallBesideTraining(method, good).status);
    for (size_t i = 0; i < good.size(); ++i) {
      for (const Mutation& mutation : Mutations::Of(*good[i])) {
        const Messages requests = GoodRequests(method);
        const std::unique_ptr<Message> unchanged(requests[i]->New());
        unchanged->CopyFrom(*requests[i]);
        mutation.apply(requests[i].get());
        if (MessageDifferencer::Equals(*unchanged, *requests[i])) continue;
        SCOPED_TRACE(absl::StrCat("message ", i, ": ", EscapedForLog(mutation.what)));
        CheckCall(method, requests, mutation);
        ++num_changed_;
      }
    }
  }

  FakeClock clock_;
  Coordinator coordinator_{
      {.max_buffered_groups = 1 << 20}, {.run_id = "run-a", .config_sha256 = "abc", .epoch = 3}, clock_};
  StatusBoard board_{RunningStatus(), &coordinator_, clock_};
  RunControl control_{&board_};
  CoordinatorService coordinator_service_{&coordinator_};
  TrainerServiceImpl trainer_service_{&board_, &control_, "run: {}\n", "abc"};
  std::unique_ptr<RewardServiceImpl> reward_;
  std::unique_ptr<rpc::Server> server_;
  std::shared_ptr<rpc::Client> client_;
  std::unique_ptr<grpc::GenericStub> stub_;
  // Of the call: its workers and groups have this number.
  int64_t serial_ = 0;
  int64_t num_changed_ = 0;
};

TEST_F(WireTest, EveryFieldOfEveryMethodIsTakenAsItIsOrRefusedByItsName) {
  for (const auto* file : {v1::RegisterRequest::descriptor()->file(), v1::PauseRequest::descriptor()->file(),
                           v1::ScoreHeader::descriptor()->file()}) {
    ASSERT_GT(file->service_count(), 0) << file->name();
    for (int s = 0; s < file->service_count(); ++s) {
      for (int m = 0; m < file->service(s)->method_count(); ++m) CheckMethod(*file->service(s)->method(m));
    }
  }
  // A walk that finds nothing would hold for anything.
  EXPECT_GT(num_changed_, 400);
}

}  // namespace
}  // namespace grpo
