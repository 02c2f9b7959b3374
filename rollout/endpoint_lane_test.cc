// A worker that samples with weights and has endpoints beside.
#include "rollout/endpoint_lane.h"

#include <atomic>
#include <filesystem>
#include <functional>
#include <optional>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/http/testing.h"
#include "common/rpc/server.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "rollout/scripted_generator.h"
#include "rollout/testing.h"
#include "rollout/tiny_policy.h"
#include "rollout/worker.h"

namespace grpo {
namespace {

using http::TestAnswer;
using http::TestRequest;
using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// As many choices as asked for: "PROMPT!".
TestAnswer Good(const TestRequest& request) {
  const json asked = json::parse(request.body);
  json choices = json::array();
  for (int64_t i = 0; i < asked.value("n", int64_t{1}); ++i) {
    const std::string prompt = asked.at("messages").at(0).at("content");
    choices.push_back({{"message", {{"content", prompt + "!"}}}, {"finish_reason", "stop"}});
  }
  const json usage = {{"prompt_tokens", 3}, {"completion_tokens", 8}};
  return {.body = json({{"model", "m"}, {"choices", choices}, {"usage", usage}}).dump()};
}

v1::Lease EndpointLease(int64_t group_index, const std::string& prompt = "abc") {
  v1::Lease lease = TinyLease(group_index, prompt, /*number=*/0);
  lease.set_kind(v1::LEASE_KIND_SYNTHESIZE);
  lease.set_endpoint(true);
  lease.mutable_policy()->set_policy_id("teacher");
  return lease;
}

class EndpointLaneTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = absl::StrCat(::testing::TempDir(), "/", ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(folder_);
    coordinator_.weights[1] = TinyWeights(1);
    coordinator_server_ = *rpc::Server::Start({}, {&coordinator_});
    reward_server_ = *rpc::Server::Start({}, {&reward_});
    coordinator_.reward_servers = {reward_server_->address()};
  }

  // `answer` is the teacher's.
  void Start(http::TestServer::Answer answer) {
    teacher_ = std::make_unique<http::TestServer>(std::move(answer));
    WorkerOptions options = {.coordinator = coordinator_server_->address(),
                             .identity = {.run_id = "run", .config_sha256 = "abc", .worker_name = "rollout-0"},
                             .rollout = {},
                             .client = {},
                             .make_generator = ScriptedGenerator::Factory(&script_)};
    options.rollout.slots = 8;
    EndpointOptions endpoint;
    endpoint.url = teacher_->url();
    endpoint.model = "m";
    endpoint.concurrency = 2;
    options.endpoints = {.endpoints = {{"teacher", endpoint}},
                         .answers_folder = folder_,
                         .retry = {.first = absl::Milliseconds(1), .longest = absl::Milliseconds(10)}};
    worker_ = *Worker::Create(options);
    thread_ = std::thread([this] { status_ = worker_->Run(); });
  }

  absl::Status EndRun() {
    {
      MutexLock lock(&coordinator_.mutex);
      coordinator_.run_ended = true;
    }
    thread_.join();
    worker_.reset();
    return status_;
  }

  bool WaitForSubmissions(size_t count) {
    return coordinator_.Wait([&] { return coordinator_.submissions.size() >= count; });
  }

  // The submission for a group; call when nothing runs any more.
  const FakeCoordinator::Submission& Of(int64_t group_index) {
    static const FakeCoordinator::Submission nothing;
    for (const FakeCoordinator::Submission& submission : coordinator_.submissions) {
      if (submission.header.key().group_index() == group_index) return submission;
    }
    ADD_FAILURE() << "group " << group_index << " never came";
    return nothing;
  }

  std::string folder_;
  FakeCoordinator coordinator_;
  FakeRewardServer reward_;
  GeneratorScript script_;
  std::unique_ptr<rpc::Server> coordinator_server_, reward_server_;
  std::unique_ptr<http::TestServer> teacher_;
  std::unique_ptr<Worker> worker_;
  std::thread thread_;
  absl::Status status_;
};

TEST_F(EndpointLaneTest, AnEndpointsGroupIsScoredAndHandedInAsTextWithWhatItCost) {
  Start(Good);
  for (int64_t group = 0; group < 7; ++group) coordinator_.Offer(EndpointLease(group, absl::StrCat("p", group)));
  ASSERT_TRUE(WaitForSubmissions(7));
  ASSERT_TRUE(coordinator_.Wait([&] { return coordinator_.heartbeat.num_tokens_generated() == 7 * 8; }));
  EXPECT_OK(EndRun());
  for (int64_t group = 0; group < 7; ++group) {
    const auto& [header, completions] = Of(group);
    EXPECT_EQ(header.error(), "");
    EXPECT_EQ(header.policy_digest(), "");
    EXPECT_THAT(header.prompt_ids(), IsEmpty());
    EXPECT_EQ(header.usage().num_requests(), 1);
    EXPECT_EQ(header.usage().input_tokens(), 3);
    EXPECT_EQ(header.usage().output_tokens(), 8);
    ASSERT_EQ(completions.size(), 4u);
    for (const v1::ScoredCompletion& scored : completions) {
      EXPECT_EQ(scored.completion().text(), absl::StrCat("p", group, "!"));
      EXPECT_EQ(scored.completion().ids_size(), 0);
      EXPECT_EQ(scored.score().value(), 3);
    }
  }
  EXPECT_THAT(coordinator_.pulls, IsEmpty()) << "there are no weights";
  EXPECT_THAT(script_.events, IsEmpty());
}

TEST_F(EndpointLaneTest, WhatWaitsForAServerKeepsNoSlotFromWeights) {
  std::atomic<bool> away = true;
  Start([&](const TestRequest& request) { return away ? TestAnswer{.status = 503} : Good(request); });
  coordinator_.Offer(EndpointLease(0));
  ASSERT_TRUE(coordinator_.Wait([&] { return coordinator_.heartbeat.active_size() == 1; }));
  for (int64_t group = 1; group < 6; ++group) coordinator_.Offer(TinyLease(group));
  ASSERT_TRUE(WaitForSubmissions(5));
  EXPECT_EQ(coordinator_.submissions.size(), 5u);
  away = false;
  ASSERT_TRUE(WaitForSubmissions(6));
  EXPECT_OK(EndRun());
  EXPECT_EQ(Of(0).completions.size(), 4u);
}

TEST_F(EndpointLaneTest, WhatBlocksAnEndpointBlocksTheRunUntilItIsGone) {
  std::atomic<bool> refused = true;
  Start([&](const TestRequest& request) {
    return refused ? TestAnswer{.status = 401, .body = "who are you?"} : Good(request);
  });
  coordinator_.Offer(EndpointLease(0));
  ASSERT_TRUE(coordinator_.Wait([&] { return coordinator_.heartbeat.blocks_run(); }));
  {
    MutexLock lock(&coordinator_.mutex);
    EXPECT_THAT(coordinator_.heartbeat.blocked_reason(), HasSubstr("status 401: who are you?"));
    EXPECT_EQ(coordinator_.heartbeat.active_size(), 1) << "its lease is kept alive";
  }
  refused = false;
  ASSERT_TRUE(WaitForSubmissions(1));
  ASSERT_TRUE(coordinator_.Wait([&] { return coordinator_.heartbeat.blocked_reason().empty(); }));
  EXPECT_OK(EndRun());
}

TEST_F(EndpointLaneTest, AGroupThatIsRefusedForGoodIsHandedInAsFailed) {
  Start([](const TestRequest& request) {
    if (request.body.find("bad") == std::string::npos) return Good(request);
    return TestAnswer{.status = 404, .body = R"({"error": {"message": "no such model"}})"};
  });
  coordinator_.Offer(EndpointLease(0, "bad"));
  coordinator_.Offer(EndpointLease(1, ""));
  coordinator_.Offer(EndpointLease(2, "good"));
  v1::Lease unknown = EndpointLease(3);
  unknown.mutable_policy()->set_policy_id("other");
  coordinator_.Offer(unknown);
  ASSERT_TRUE(WaitForSubmissions(4));
  EXPECT_OK(EndRun());
  EXPECT_THAT(Of(0).header.error(), HasSubstr("no such model"));
  EXPECT_THAT(Of(1).header.error(), HasSubstr("prompt train/1: the prompt is empty"));
  EXPECT_EQ(Of(2).header.error(), "");
  EXPECT_THAT(Of(3).header.error(), HasSubstr("no policies.other.endpoint"));
}

TEST_F(EndpointLaneTest, ALostLeaseIsForgotten) {
  std::atomic<int> num_asked = 0;
  Start([&](const TestRequest& request) {
    if (request.body.find("lost") != std::string::npos && ++num_asked > 0) return TestAnswer{.status = 503};
    return Good(request);
  });
  coordinator_.Offer(EndpointLease(0, "lost"));
  ASSERT_TRUE(coordinator_.Wait([&] { return coordinator_.heartbeat.active_size() == 1; }));
  {
    MutexLock lock(&coordinator_.mutex);
    coordinator_.lost = {EndpointLease(0).key()};
  }
  ASSERT_TRUE(coordinator_.Wait([&] { return coordinator_.heartbeat.active_size() == 0; }));
  coordinator_.Offer(EndpointLease(1, "good"));
  ASSERT_TRUE(WaitForSubmissions(1));
  EXPECT_OK(EndRun());
  EXPECT_EQ(coordinator_.submissions.size(), 1u);
  EXPECT_EQ(Of(1).completions.size(), 4u);
}

}  // namespace
}  // namespace grpo
