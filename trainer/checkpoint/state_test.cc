#include "trainer/checkpoint/state.h"

#include "common/files.h"
#include "common/status_testing.h"

namespace grpo {
namespace {

const Environment kHere = {.build = "0.1.0", .world_size = 1, .threads = 2, .cpu_capability = "AVX2"};

CheckpointState Example() {
  CheckpointState state;
  state.run_id = "run";
  state.epoch = 3;
  state.sequence = 40;
  state.stage_index = 1;
  state.stage = "tune";
  state.progress = {.step = 9, .data_position = 144, .seconds = 2.5, .optimizer_steps = 18};
  state.policy_ids = {"base", "tuned"};
  state.frozen_policies = {{.id = "reference", .digest = "f0", .source = "path /models/base"}};
  state.stage_reports = {{{"name", "pretrain"}, {"seconds", 1.5}}};
  state.config_sha256 = "c0";
  state.data_sha256 = {{"problems", "d0"}};
  state.environment = kHere;
  return state;
}

TEST(CheckpointStateTest, ComesBackAsItWas) {
  const CheckpointState state = Example();
  ASSERT_OK_AND_ASSIGN(const CheckpointState read, StateFromJson(StateToJson(state)));
  EXPECT_EQ(StateToJson(read), StateToJson(state));
  EXPECT_EQ(read.stage, "tune");
  EXPECT_EQ(read.progress.data_position, 144);
  EXPECT_EQ(read.data_sha256, state.data_sha256);
  EXPECT_EQ(read.environment.cpu_capability, "AVX2");
  ASSERT_EQ(read.frozen_policies.size(), 1);
  EXPECT_EQ(read.frozen_policies[0].id, "reference");
  EXPECT_EQ(read.frozen_policies[0].digest, "f0");
  EXPECT_EQ(read.frozen_policies[0].source, "path /models/base");
}

// The file was written by the build before `stage`, `config_sha256`, `data_sha256` and `environment` were added.
TEST(CheckpointStateTest, ReadsAStateFromBeforeLaterKeys) {
  ASSERT_OK_AND_ASSIGN(const std::string golden, ReadFile("trainer/checkpoint/testdata/state_format1.json"));
  ASSERT_OK_AND_ASSIGN(const CheckpointState read, StateFromJson(golden));
  EXPECT_EQ(read.sequence, 212);
  EXPECT_EQ(read.stage_index, 2);
  EXPECT_EQ(read.stage, "");
  EXPECT_EQ(read.policy_ids, (std::vector<std::string>{"base", "tuned"}));
  EXPECT_EQ(read.stage_reports.size(), 2);
  EXPECT_TRUE(read.frozen_policies.empty()) << "it held the weights of all";
  EXPECT_TRUE(read.data_sha256.empty());
  EXPECT_EQ(Differences(read.environment, kHere), "") << "what it does not say does not differ";
}

TEST(CheckpointStateTest, NamesWhatMakesAResumedRunNotBitwise) {
  EXPECT_EQ(Differences(kHere, kHere), "");
  const Environment elsewhere = {.build = "0.2.0", .world_size = 4, .threads = 8, .cpu_capability = "AVX512"};
  EXPECT_EQ(Differences(kHere, elsewhere),
            "build 0.1.0, now 0.2.0; world size 1, now 4; threads 2, now 8; CPU capability AVX2, now AVX512");
}

TEST(CheckpointStateTest, DevicesAreAPartOfTheCircumstances) {
  CheckpointState state = Example();
  EXPECT_EQ(DeviceOf(state.environment), "cpu") << "there was no other when it was saved";
  state.environment.device = "cuda";
  state.environment.device_model = "NVIDIA H200";
  state.environment.deterministic = false;
  ASSERT_OK_AND_ASSIGN(const CheckpointState read, StateFromJson(StateToJson(state)));
  EXPECT_EQ(DeviceOf(read.environment), "cuda");
  EXPECT_EQ(read.environment.device_model, "NVIDIA H200");
  EXPECT_FALSE(read.environment.deterministic);
  Environment now = state.environment;
  EXPECT_EQ(Differences(state.environment, now), "trainer.deterministic false");
  now.deterministic = state.environment.deterministic = true;
  EXPECT_EQ(Differences(state.environment, now), "");
  now.device_model = "NVIDIA B200";
  EXPECT_EQ(Differences(state.environment, now), "device model NVIDIA H200, now NVIDIA B200");
  now.device = now.device_model = "cpu";
  EXPECT_EQ(Differences(state.environment, now), "device cuda, now cpu; device model NVIDIA H200, now cpu");
}

TEST(CheckpointStateTest, WhatCannotBeReadIsNamed) {
  EXPECT_STATUS(StateFromJson("{\"format\": 3}"), absl::StatusCode::kDataLoss,
                "format 3; this build reads formats 1 to 2");
  EXPECT_STATUS(StateFromJson("{\"format\": \"2\"}"), absl::StatusCode::kDataLoss, "format \"2\"; this build reads");
  EXPECT_STATUS(StateFromJson("{\"format\": 1, \"run_id\": 5}"), absl::StatusCode::kDataLoss, "state.json");
  EXPECT_STATUS(StateFromJson("nonsense"), absl::StatusCode::kDataLoss, "state.json");
}

}  // namespace
}  // namespace grpo
