#include "trainer/checkpoint/snapshot.h"

#include <ATen/ops/equal.h>

#include "common/files.h"
#include "model/weights/weight_set.h"
#include "trainer/checkpoint/snapshot_testing.h"

namespace grpo {
namespace {

TEST(SnapshotTest, ComesBackAsItWas) {
  const Snapshot snapshot = ExampleSnapshot();
  const auto files = TextsOf(SnapshotToFiles(snapshot));
  ASSERT_OK_AND_ASSIGN(const Snapshot read, SnapshotFromFiles(LoadedFrom(files)));
  CheckpointState expected = snapshot.state;
  expected.policy_ids = {"base"};
  EXPECT_EQ(StateToJson(read.state), StateToJson(expected));
  EXPECT_EQ(read.resolved_yaml, snapshot.resolved_yaml);
  EXPECT_TRUE(at::equal(read.optimizer.at("w.exp_avg"), snapshot.optimizer.at("w.exp_avg")));
  ASSERT_EQ(read.policies.size(), 1);
  EXPECT_EQ(PayloadOf(*read.policies[0]), PayloadOf(*snapshot.policies[0]));
  EXPECT_EQ(read.policies[0]->manifest().digest(), snapshot.policies[0]->manifest().digest());
  EXPECT_EQ(read.policies[0]->manifest().policy().number(), 31);
}

TEST(SnapshotTest, TheCompanionsOfAPolicyComeBackAsFilesOfTheirOwn) {
  Snapshot snapshot = ExampleSnapshot();
  const Companions companions = {{"chat_template.jinja", "{{ messages }}"}, {"generation_config.json", "{}"}};
  ASSERT_OK_AND_ASSIGN(const MadePolicy plain, ReadPolicy(*snapshot.policies[0]));
  snapshot.policies = {*LiveWeights::Of(*plain.model, "{}", snapshot.policies[0]->manifest().policy(), companions)};
  auto files = TextsOf(SnapshotToFiles(snapshot));
  EXPECT_EQ(files["policy.base.chat_template.jinja"], "{{ messages }}");
  {
    ASSERT_OK_AND_ASSIGN(const Snapshot read, SnapshotFromFiles(LoadedFrom(files)));
    ASSERT_OK_AND_ASSIGN(const MadePolicy made, ReadPolicy(*read.policies[0]));
    EXPECT_EQ(made.companions, companions);
  }
  files.erase("policy.base.chat_template.jinja");
  EXPECT_STATUS(SnapshotFromFiles(LoadedFrom(files)), absl::StatusCode::kDataLoss,
                "no policy.base.chat_template.jinja");
}

TEST(SnapshotTest, WhatDoesNotFitIsNamed) {
  const auto whole = TextsOf(SnapshotToFiles(ExampleSnapshot()));
  auto files = whole;
  files["state.json"] = "{\"format\": 3}";
  EXPECT_STATUS(SnapshotFromFiles(LoadedFrom(files)), absl::StatusCode::kDataLoss,
                "format 3; this build reads formats 1 to 2");
  files = whole;
  files.erase("policy.base.safetensors");
  EXPECT_STATUS(SnapshotFromFiles(LoadedFrom(files)), absl::StatusCode::kDataLoss, "policy.base.safetensors");
  files = whole;
  files["policy.base.safetensors"].back() ^= 1;
  EXPECT_STATUS(SnapshotFromFiles(LoadedFrom(files)), absl::StatusCode::kDataLoss, "policy.base.safetensors");
}

// The folders were written by the first builds that wrote these formats; their weights are bytes, not drawn anew.
class KeptCheckpointTest : public ::testing::TestWithParam<int> {
 protected:
  std::string Folder() const { return absl::StrCat("trainer/checkpoint/testdata/format", GetParam()); }
  absl::StatusOr<Snapshot> Read() const {
    const CheckpointStore store(Folder(), /*keep=*/2);
    ASSIGN_OR_RETURN(CheckpointStore::Loaded loaded, store.Load("step-000000000040"));
    return SnapshotFromFiles(std::make_shared<const CheckpointStore::Loaded>(std::move(loaded)));
  }
};

INSTANTIATE_TEST_SUITE_P(Formats, KeptCheckpointTest, ::testing::Values(1, 2));

TEST_P(KeptCheckpointTest, IsReadWhole) {
  ASSERT_OK_AND_ASSIGN(const Snapshot read, Read());
  EXPECT_EQ(read.state.sequence, 40);
  EXPECT_EQ(read.state.progress.optimizer_steps, 18);
  EXPECT_EQ(read.state.policy_ids, std::vector<std::string>{"base"});
  EXPECT_EQ(read.state.frozen_policies.size(), GetParam() == 1 ? 0 : 1);
  EXPECT_FLOAT_EQ(read.optimizer.at("w.exp_avg")[1].item<float>(), -2.5f);
  ASSERT_EQ(read.policies.size(), 1);
  ASSERT_OK_AND_ASSIGN(const MadePolicy made, ReadPolicy(*read.policies[0]));
  EXPECT_EQ(made.tokenizer_json, "{\"tokenizer\": true}");
  EXPECT_EQ(made.companions, (Companions{{"generation_config.json", "{}"}}));
  EXPECT_EQ(made.model->config().num_layers, 1);
}

TEST_P(KeptCheckpointTest, ItsWeightsAndMomentsAreWrittenAsTheSameBytesAgain) {
  ASSERT_OK_AND_ASSIGN(Snapshot read, Read());
  // By way of a model, as a run saves them.
  ASSERT_OK_AND_ASSIGN(const MadePolicy made, ReadPolicy(*read.policies[0]));
  const v1::PolicyRef policy = read.policies[0]->manifest().policy();
  read.policies = {*LiveWeights::Of(*made.model, made.tokenizer_json, policy, made.companions)};
  for (const auto& [name, text] : TextsOf(SnapshotToFiles(read))) {
    ASSERT_OK_AND_ASSIGN(const std::string kept, ReadFile(absl::StrCat(Folder(), "/step-000000000040/", name)));
    EXPECT_TRUE(text == kept || (name == "state.json" && GetParam() == 1)) << name;
  }
}

}  // namespace
}  // namespace grpo
