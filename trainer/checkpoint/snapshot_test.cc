#include "trainer/checkpoint/snapshot.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>

#include "common/status_testing.h"

namespace grpo {
namespace {

Snapshot Example() {
  ModelConfig config;
  config.vocab_size = 7;
  config.hidden_size = 4;
  config.intermediate_size = 6;
  config.num_layers = 1;
  config.num_heads = config.num_kv_heads = 2;
  config.head_dim = 2;
  config.max_positions = 16;
  config.eos_token_ids = {1};
  const std::unique_ptr<Transformer> model = *Transformer::Create(config);
  model->InitializeRandom(5);
  v1::PolicyRef policy;
  policy.set_policy_id("base");
  policy.set_number(31);
  Snapshot snapshot;
  snapshot.run_id = "run";
  snapshot.resolved_yaml = "run: {}\n";
  snapshot.epoch = 3;
  snapshot.sequence = 40;
  snapshot.stage_index = 1;
  snapshot.cursor = {.step = 9, .data_position = 144, .seconds = 2.5, .optimizer_steps = 18, .optimizer = {}};
  snapshot.cursor.optimizer["w.exp_avg"] = at::tensor({1.0f, -2.5f});
  snapshot.policies.push_back(*PackWeights(*model, "{\"tokenizer\": true}", policy));
  snapshot.stage_reports = {{{"name", "pretrain"}, {"seconds", 1.5}}};
  return snapshot;
}

TEST(SnapshotTest, ComesBackAsItWas) {
  const Snapshot snapshot = Example();
  ASSERT_OK_AND_ASSIGN(const auto files, SnapshotToFiles(snapshot));
  ASSERT_OK_AND_ASSIGN(const Snapshot read, SnapshotFromFiles(files));
  EXPECT_EQ(read.run_id, "run");
  EXPECT_EQ(read.resolved_yaml, snapshot.resolved_yaml);
  EXPECT_EQ(read.epoch, 3);
  EXPECT_EQ(read.sequence, 40);
  EXPECT_EQ(read.stage_index, 1);
  EXPECT_EQ(read.cursor.step, 9);
  EXPECT_EQ(read.cursor.data_position, 144);
  EXPECT_EQ(read.cursor.seconds, 2.5);
  EXPECT_EQ(read.cursor.optimizer_steps, 18);
  EXPECT_TRUE(at::equal(read.cursor.optimizer.at("w.exp_avg"), snapshot.cursor.optimizer.at("w.exp_avg")));
  EXPECT_EQ(read.stage_reports, snapshot.stage_reports);
  ASSERT_EQ(read.policies.size(), 1);
  EXPECT_EQ(read.policies[0].payload, snapshot.policies[0].payload);
  EXPECT_EQ(read.policies[0].manifest.digest(), snapshot.policies[0].manifest.digest());
  EXPECT_EQ(read.policies[0].manifest.policy().number(), 31);
}

TEST(SnapshotTest, WhatDoesNotFitIsNamed) {
  ASSERT_OK_AND_ASSIGN(const auto whole, SnapshotToFiles(Example()));
  auto files = whole;
  files["state.json"] = "{\"format\": 2}";
  EXPECT_STATUS(SnapshotFromFiles(files), absl::StatusCode::kDataLoss, "format 2");
  files["state.json"] = "{\"format\": 1, \"run_id\": 5}";
  EXPECT_STATUS(SnapshotFromFiles(files), absl::StatusCode::kDataLoss, "state.json");
  files = whole;
  files.erase("policy.base.safetensors");
  EXPECT_STATUS(SnapshotFromFiles(files), absl::StatusCode::kDataLoss, "policy.base.safetensors");
  files = whole;
  files["policy.base.safetensors"].back() ^= 1;
  EXPECT_STATUS(SnapshotFromFiles(files), absl::StatusCode::kDataLoss, "policy.base.safetensors");
}

}  // namespace
}  // namespace grpo
