#include "tools/grpoctl_model/model_folder.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/status_testing.h"
#include "trainer/checkpoint/snapshot.h"
#include "trainer/policies.h"
#include "trainer/run_config.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;

constexpr char kConfig[] =
    "run: {name: r}\n"
    "data: {problems: {source: chickens_rabbits, max_heads: 10}}\n"
    "rewards: {rules_only: {rules: {math_answer: {weight: 1}}}}\n"
    "policies:\n"
    "  base: {random_init: {tokenizer: tokenizer.json, hidden_size: 4, intermediate_size: 4, num_layers: 1, "
    "num_heads: 1, num_kv_heads: 1}}\n"
    "  tuned: {initialize_from: base}\n"
    "stages: [{name: measure, type: evaluate, policy: tuned, data: problems, rewards: rules_only}]\n";

// A run's checkpoint in which tuned was trained and base was not.
class CheckpointModelTest : public ::testing::Test {
 protected:
  CheckpointModelTest() : folder_(fs::path(::testing::TempDir() + "/model_folder").lexically_normal().string()) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }

  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(const std::string tokenizer, ReadFile("configs/tokenizers/chickens_rabbits.json"));
    ASSERT_OK(WriteFileSynced(folder_ + "/tokenizer.json", tokenizer));
    ASSERT_OK(WriteFileSynced(folder_ + "/config.yaml", kConfig));
    ASSERT_OK_AND_ASSIGN(const LoadedConfig config, LoadRunConfig(folder_ + "/config.yaml"));
    policies_ = std::make_unique<PolicyStore>(config.config.policies, config.config.run.seed);
    ASSERT_OK_AND_ASSIGN(Policy * tuned, policies_->Get("tuned"));
    tuned->model->NamedParameters().front().second.fill_(0.5);
    tuned->number = 3;
    Snapshot snapshot;
    snapshot.resolved_yaml = config.resolved_yaml;
    ASSERT_OK_AND_ASSIGN(snapshot.policies, policies_->Trained());
    ASSERT_OK_AND_ASSIGN(snapshot.state.frozen_policies, policies_->Frozen());
    CheckpointStore store(folder_ + "/checkpoints", 2);
    ASSERT_OK_AND_ASSIGN(const CheckpointFiles files, SnapshotToFiles(snapshot));
    ASSERT_OK_AND_ASSIGN(const std::string name, store.Save(3, files));
    checkpoint_ = absl::StrCat(folder_, "/checkpoints/", name);
  }

  // The weights that LoadModel finds under this name are those of the run.
  void ExpectSame(const std::string& policy, const std::string& source) {
    ASSERT_OK_AND_ASSIGN(const LoadedModel loaded, LoadModel(checkpoint_, policy, {}));
    ASSERT_OK_AND_ASSIGN(const Policy* expected, policies_->Get(policy));
    const NamedTensors got = loaded.model->NamedParameters(), wanted = expected->model->NamedParameters();
    for (size_t i = 0; i < wanted.size(); ++i) EXPECT_TRUE(got[i].second.equal(wanted[i].second)) << wanted[i].first;
    EXPECT_EQ(loaded.source, source);
    EXPECT_NE(loaded.tokenizer, nullptr);
  }

  const std::string folder_;
  std::unique_ptr<PolicyStore> policies_;
  std::string checkpoint_;
};

TEST_F(CheckpointModelTest, FindsAPolicyThatTheCheckpointHoldsAndOneThatItOnlyNames) {
  ExpectSame("tuned", "");
  ExpectSame("base", absl::StrCat("random_init with run.seed 0 and ", folder_, "/tokenizer.json"));
}

TEST_F(CheckpointModelTest, AsksWhichAndNamesAll) {
  EXPECT_STATUS(LoadModel(checkpoint_, "", {}), absl::StatusCode::kInvalidArgument, "choose one of tuned, base");
  EXPECT_STATUS(LoadModel(checkpoint_, "other", {}), absl::StatusCode::kInvalidArgument, "no policy \"other\"");
}

TEST_F(CheckpointModelTest, WhatAFrozenPolicyComesFromMustBeTheSame) {
  ASSERT_OK_AND_ASSIGN(const std::string tokenizer, ReadFile(folder_ + "/tokenizer.json"));
  ASSERT_OK(WriteFileSynced(folder_ + "/tokenizer.json", tokenizer + "\n"));
  EXPECT_STATUS(LoadModel(checkpoint_, "base", {}), absl::StatusCode::kDataLoss, "policies.base has changed");
  EXPECT_OK(LoadModel(checkpoint_, "tuned", {}));
}

}  // namespace
}  // namespace grpo
