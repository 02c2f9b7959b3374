#include "rollout/pull_policy.h"

#include <cstdint>
#include <thread>

#include "common/rpc/server.h"
#include "common/status_testing.h"
#include "model/weights/weight_set.h"
#include "rollout/testing.h"

namespace grpo {
namespace {

constexpr char kTokenizer[] = R"({"decoder": {"type": "Fuse"},
    "added_tokens": [{"id": 0, "content": "<eos>", "special": true}],
    "model": {"type": "BPE", "merges": [], "vocab": {"<eos>": 0, "a": 1, "b": 2, "c": 3}}})";

WeightSet TinyWeights(int64_t number, const std::string& tokenizer_json = kTokenizer) {
  ModelConfig config;
  config.vocab_size = 4;
  config.hidden_size = 16;
  config.intermediate_size = 32;
  config.num_layers = 1;
  config.num_heads = 2;
  config.num_kv_heads = 1;
  config.head_dim = 8;
  config.max_positions = 32;
  config.eos_token_ids = {0};
  const std::unique_ptr<Transformer> model = *Transformer::Create(config);
  model->InitializeRandom(number);
  v1::PolicyRef policy;
  policy.set_policy_id("tiny");
  policy.set_number(number);
  return *PackWeights(*model, tokenizer_json, policy);
}

class PullPolicyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const int64_t number : {1, 2}) coordinator_.weights[number] = TinyWeights(number);
    coordinator_.weights[3] = TinyWeights(3, std::string(kTokenizer) + "\n");
    server_ = *rpc::Server::Start({}, {&coordinator_});
    client_ = *rpc::Client::Create(server_->address());
    session_ = std::make_unique<Session>(*rpc::Client::Create(server_->address()),
                                         Session::Identity{.weight_channels = {"grpc"}});
    session_->Track(kLease, {});
    puller_ = std::make_unique<PolicyPuller>(client_, session_.get(), &loader_);
  }

  absl::StatusOr<HeldPolicy> Pull(int64_t number, const HeldPolicy* previous = nullptr) {
    v1::PolicyRef policy;
    policy.set_policy_id("tiny");
    policy.set_number(number);
    return puller_->Pull(policy, kLease, previous);
  }
  size_t num_pulls() {
    MutexLock lock(&coordinator_.mutex);
    return coordinator_.pulls.size();
  }

  static constexpr int64_t kLease = 1;
  FakeCoordinator coordinator_;
  std::unique_ptr<rpc::Server> server_;
  std::shared_ptr<rpc::Client> client_;
  std::unique_ptr<Session> session_;
  PolicyLoader loader_;
  std::unique_ptr<PolicyPuller> puller_;
};

TEST_F(PullPolicyTest, HoldsTheBytesThatWerePublished) {
  ASSERT_OK_AND_ASSIGN(const HeldPolicy held, Pull(1));
  EXPECT_EQ(held.manifest.digest(), coordinator_.weights[1].manifest.digest());
  ASSERT_OK_AND_ASSIGN(const WeightSet again, PackWeights(*held.model, kTokenizer, held.manifest.policy()));
  EXPECT_TRUE(again.payload == coordinator_.weights[1].payload);
}

TEST_F(PullPolicyTest, ModelAndTokenizerThatAreTheSameAreNotMadeAgain) {
  ASSERT_OK_AND_ASSIGN(const HeldPolicy first, Pull(1));
  ASSERT_OK_AND_ASSIGN(const HeldPolicy second, Pull(2, &first));
  EXPECT_EQ(second.tokenizer, first.tokenizer);
  EXPECT_EQ(second.model, first.model) << "the same, with other weights";
  ASSERT_OK_AND_ASSIGN(const WeightSet again, PackWeights(*second.model, kTokenizer, second.manifest.policy()));
  EXPECT_TRUE(again.payload == coordinator_.weights[2].payload);
  ASSERT_OK_AND_ASSIGN(const HeldPolicy third, Pull(3, &second));
  EXPECT_NE(third.tokenizer, first.tokenizer);
}

// Somebody else may hold what came before.
TEST_F(PullPolicyTest, WithoutTheVersionBeforeANewModelIsMade) {
  ASSERT_OK_AND_ASSIGN(const HeldPolicy first, Pull(1));
  ASSERT_OK_AND_ASSIGN(const HeldPolicy second, Pull(2));
  EXPECT_NE(second.model, first.model);
  ASSERT_OK_AND_ASSIGN(const WeightSet again, PackWeights(*first.model, kTokenizer, first.manifest.policy()));
  EXPECT_TRUE(again.payload == coordinator_.weights[1].payload);
}

// The model may then hold anything, and takes the next version as well.
TEST_F(PullPolicyTest, DamageInTheMiddleOfAModelIsMended) {
  ASSERT_OK_AND_ASSIGN(const HeldPolicy first, Pull(1));
  coordinator_.pull_faults = {{.flip_a_bit = true}};
  ASSERT_OK_AND_ASSIGN(const HeldPolicy second, Pull(2, &first));
  EXPECT_EQ(second.model, first.model);
  ASSERT_OK_AND_ASSIGN(const WeightSet again, PackWeights(*second.model, kTokenizer, second.manifest.policy()));
  EXPECT_TRUE(again.payload == coordinator_.weights[2].payload);
}

TEST_F(PullPolicyTest, WhatDoesNotVerifyIsFetchedAnewFromTheBeginning) {
  coordinator_.pull_faults = {{.flip_a_bit = true}};
  ASSERT_OK_AND_ASSIGN(const HeldPolicy held, Pull(1));
  EXPECT_EQ(num_pulls(), 2);
  EXPECT_EQ(coordinator_.pulls[1].offset_bytes(), 0);
}

// Nothing is made room for, and nothing fetched, before the manifest fits together.
TEST_F(PullPolicyTest, AManifestThatLiesIsNotFollowed) {
  const WeightSet honest = coordinator_.weights[1];
  v1::WeightsManifest& manifest = coordinator_.weights[1].manifest;
  manifest.mutable_tokenizer()->set_num_bytes(int64_t{1} << 62);
  manifest.set_payload_bytes(INT64_MAX);
  absl::StatusOr<HeldPolicy> held;
  std::thread puller([&] { held = Pull(1); });
  EXPECT_TRUE(coordinator_.Wait([&] { return coordinator_.pulls.size() >= 2; })) << "it asked again";
  {
    MutexLock lock(&coordinator_.mutex);
    coordinator_.weights[1] = honest;
  }
  puller.join();
  EXPECT_OK(held);
}

TEST_F(PullPolicyTest, AVersionThatIsNotKeptIsNotFound) {
  EXPECT_STATUS(Pull(9), absl::StatusCode::kNotFound, "version 9 of policy tiny");
}

}  // namespace
}  // namespace grpo
