#include "trainer/checkpoint/snapshot.h"

#include <ATen/ops/equal.h>

#include "common/status_testing.h"
#include "trainer/checkpoint/snapshot_testing.h"

namespace grpo {
namespace {

TEST(SnapshotTest, ComesBackAsItWas) {
  const Snapshot snapshot = ExampleSnapshot();
  ASSERT_OK_AND_ASSIGN(const auto files, SnapshotToFiles(snapshot));
  ASSERT_OK_AND_ASSIGN(const Snapshot read, SnapshotFromFiles(files));
  CheckpointState expected = snapshot.state;
  expected.policy_ids = {"base"};
  EXPECT_EQ(StateToJson(read.state), StateToJson(expected));
  EXPECT_EQ(read.resolved_yaml, snapshot.resolved_yaml);
  EXPECT_TRUE(at::equal(read.optimizer.at("w.exp_avg"), snapshot.optimizer.at("w.exp_avg")));
  ASSERT_EQ(read.policies.size(), 1);
  EXPECT_EQ(read.policies[0].payload, snapshot.policies[0].payload);
  EXPECT_EQ(read.policies[0].manifest.digest(), snapshot.policies[0].manifest.digest());
  EXPECT_EQ(read.policies[0].manifest.policy().number(), 31);
}

TEST(SnapshotTest, TheCompanionsOfAPolicyComeBackAsFilesOfTheirOwn) {
  Snapshot snapshot = ExampleSnapshot();
  const Companions companions = {{"chat_template.jinja", "{{ messages }}"}, {"generation_config.json", "{}"}};
  const WeightSet plain = snapshot.policies[0];
  ASSERT_OK_AND_ASSIGN(const auto model, MakeModel(plain.manifest, plain.payload));
  snapshot.policies = {*PackWeights(*model, "{}", plain.manifest.policy(), companions)};
  ASSERT_OK_AND_ASSIGN(auto files, SnapshotToFiles(snapshot));
  EXPECT_EQ(files["policy.base.chat_template.jinja"], "{{ messages }}");
  ASSERT_OK_AND_ASSIGN(const Snapshot read, SnapshotFromFiles(files));
  EXPECT_EQ(CompanionsOf(read.policies[0].manifest, read.policies[0].payload), companions);
  files.erase("policy.base.chat_template.jinja");
  EXPECT_STATUS(SnapshotFromFiles(files), absl::StatusCode::kDataLoss, "no policy.base.chat_template.jinja");
}

TEST(SnapshotTest, WhatDoesNotFitIsNamed) {
  ASSERT_OK_AND_ASSIGN(const auto whole, SnapshotToFiles(ExampleSnapshot()));
  auto files = whole;
  files["state.json"] = "{\"format\": 2}";
  EXPECT_STATUS(SnapshotFromFiles(files), absl::StatusCode::kDataLoss, "format 2");
  files = whole;
  files.erase("policy.base.safetensors");
  EXPECT_STATUS(SnapshotFromFiles(files), absl::StatusCode::kDataLoss, "policy.base.safetensors");
  files = whole;
  files["policy.base.safetensors"].back() ^= 1;
  EXPECT_STATUS(SnapshotFromFiles(files), absl::StatusCode::kDataLoss, "policy.base.safetensors");
}

}  // namespace
}  // namespace grpo
