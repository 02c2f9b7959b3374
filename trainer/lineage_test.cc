#include "trainer/lineage.h"

#include <filesystem>

#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "trainer/stage/testing.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class LineageTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(folder_);
    ASSERT_OK_AND_ASSIGN(
        loaded_,
        LoadTestConfig(folder_,
                       "  - {name: learn, type: train, algorithm: pretrain, policy: model, data: corpus, steps: 5, "
                       "rows_per_step: 2, row_tokens: 16}\n"
                       "  - {name: write, type: synthesize, policy: model, data: problems, rewards: rules, "
                       "samples_per_problem: 4, export_to: out}\n"
                       "  - {name: copy, type: train, algorithm: sft, policy: frozen, data: written, steps: 4, "
                       "traces_per_step: 2}\n"
                       "  - {name: tune, type: train, algorithm: grpo, policy: frozen, data: problems, rewards: rules, "
                       "steps: 7, prompts_per_step: 3, group_size: 2, kl_coefficient: 0.1, reference_policy: model}\n"
                       "  - {name: soften, type: train, algorithm: logit_distill, policy: frozen, data: written, "
                       "steps: 4, traces_per_step: 2, teachers: [{policy: model, weight: 1, temperature: {start: 1}}], "
                       "alpha: {start: 0.5}}\n"
                       "  - {name: measure, type: evaluate, policy: frozen, data: problems, rewards: rules}\n"));
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // Reports of the first `count` stages, made one after the other.
  std::vector<StageReport> Reports(size_t count) const {
    std::vector<StageReport> reports;
    for (size_t i = 0; i < count; ++i) {
      const ConfiguredStage& stage = loaded_.config.stages[i];
      StageReport report{.name = stage.name, .type = stage.type};
      report.policy = i < 2 ? "model" : "frozen";
      if (stage.type == "synthesize") report.artifact = "out";
      FillLineage(loaded_.config, stage, reports, &report);
      reports.push_back(std::move(report));
    }
    return reports;
  }

  const std::string folder_ = ::testing::TempDir() + "/lineage_test";
  LoadedConfig loaded_;
};

TEST_F(LineageTest, NamesWhoTrainedAndWhoWrote) {
  const std::vector<StageReport> reports = Reports(6);
  EXPECT_EQ(reports[0].weights_from, "") << "random weights come from nowhere";
  EXPECT_EQ(reports[1].weights_from, "learn");
  EXPECT_THAT(reports[1].learned_from, IsEmpty());
  EXPECT_EQ(reports[2].weights_from, "learn") << "of the policy that it is initialised from";
  EXPECT_THAT(reports[2].learned_from, ElementsAre("write"));
  EXPECT_THAT(reports[2].taught_by, IsEmpty());
  EXPECT_EQ(reports[3].weights_from, "copy");
  EXPECT_THAT(reports[3].taught_by, IsEmpty()) << "a reference that is stayed near to is no teacher";
  EXPECT_EQ(reports[4].weights_from, "tune");
  EXPECT_THAT(reports[4].taught_by, ElementsAre("learn"));
  EXPECT_THAT(reports[4].teachers, ElementsAre("model"));
  EXPECT_EQ(reports[5].weights_from, "soften");
}

// A policy is a copy of its origin as that was when it was first used.
TEST_F(LineageTest, WhatWasMadeBeforeItsOriginLearnedIsNotItsOrigins) {
  std::vector<StageReport> before = {{.name = "early", .type = "evaluate"}, {.name = "learn", .type = "train"}};
  before[0].policy = "frozen";
  before[1].policy = "model";
  StageReport report;
  report.policy = "frozen";
  FillLineage(loaded_.config, loaded_.config.stages[5], before, &report);
  EXPECT_EQ(report.weights_from, "");
  // The newest that trained it counts.
  before.push_back({.name = "copy", .type = "train"});
  before.back().policy = "frozen";
  FillLineage(loaded_.config, loaded_.config.stages[5], before, &report);
  EXPECT_EQ(report.weights_from, "copy");
}

}  // namespace
}  // namespace grpo
