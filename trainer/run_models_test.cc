#include "trainer/run_models.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/status_testing.h"
#include "model/weights/folder.h"
#include "model/weights/weight_set.h"
#include "trainer/algorithm/algorithm.h"
#include "trainer/dist/rank_testing.h"
#include "trainer/ranks.h"
#include "trainer/stage/testing.h"

namespace grpo {
namespace {

// Two updates a step, and a learning rate that no two steps share.
constexpr char kStage[] =
    "  - {name: s, type: train, algorithm: pretrain, policy: model, data: corpus, steps: 8, rows_per_step: 2, "
    "row_tokens: 8, optimizer: {learning_rate: 0.01, warmup_steps: 4}}\n";

// The run's models on one rank, or on rank 0 of several.
struct Parts {
  Parts(const RunConfig& config, Collectives* collectives)
      : policies(config.policies, config.run.seed),
        coordinator(config.coordinator, {.run_id = "r", .config_sha256 = "c", .epoch = 1}, clock),
        models(config.trainer, &policies, &coordinator, collectives) {}

  const FakeClock clock;
  PolicyStore policies;
  Coordinator coordinator;
  RunModels models;
};

class RunModelsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    // A pool of threads would spend more on waking up than on these tensors.
    at::set_num_threads(1);
    std::filesystem::remove_all(folder_);
    ASSERT_OK_AND_ASSIGN(loaded_, LoadTestConfig(folder_ + "/config", kStage));
    parts_ = std::make_unique<Parts>(loaded_.config, alone_.get());
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  LearnerSpec Spec() const { return loaded_.config.stages[0].stage->learner().value(); }
  RunModels& models() { return parts_->models; }

  // Rows that differ from step to step.
  StepBatch Batch(int64_t step) const {
    CorpusInput input;
    for (uint32_t row = 0; row < 2; ++row) {
      input.rows.emplace_back();
      for (uint32_t t = 0; t < 9; ++t)
        input.rows.back().push_back((7 * row + 3 * t + 5 * static_cast<uint32_t>(step)) % 50);
    }
    return Spec().algorithm.Prepare(input).value();
  }

  // Takes steps first .. end - 1; the hash of the weights after each.
  static std::vector<std::string> TakeSteps(const RunModelsTest& test, StepLearner& learner, int64_t first,
                                            int64_t end) {
    std::vector<std::string> hashes;
    for (int64_t step = first; step < end; ++step) {
      const auto outcome = learner.Step(test.Batch(step), step);
      EXPECT_OK(outcome);
      if (!outcome.ok()) break;
      hashes.push_back(outcome->weights_hash);
    }
    return hashes;
  }

  const std::string folder_ = ::testing::TempDir() + "/run_models_test";
  const std::unique_ptr<Collectives> alone_ = Collectives::SingleRank();
  LoadedConfig loaded_;
  std::unique_ptr<Parts> parts_;
};

TEST_F(RunModelsTest, APolicyIsMadeOnceAndStays) {
  ASSERT_OK_AND_ASSIGN(StagePolicy* const policy, models().Get("model"));
  EXPECT_EQ(policy->ref().policy_id(), "model");
  EXPECT_EQ(policy->ref().number(), 0);
  EXPECT_EQ(policy->config().hidden_size, 8);
  EXPECT_EQ(policy->tokenizer().vocab_size(), policy->config().vocab_size);
  ASSERT_OK(models().Get("frozen"));
  ASSERT_OK_AND_ASSIGN(StagePolicy* const again, models().Get("model"));
  EXPECT_EQ(again, policy);
  EXPECT_EQ(parts_->policies.made().size(), 2u);
}

TEST_F(RunModelsTest, APolicyThatIsNotConfiguredIsNamed) {
  EXPECT_STATUS(models().Get("nobody"), absl::StatusCode::kNotFound, "nobody");
  EXPECT_TRUE(parts_->policies.made().empty());
}

TEST_F(RunModelsTest, TheHashIsOfTheWeightsAsTheyAreNow) {
  ASSERT_OK_AND_ASSIGN(StagePolicy* const policy, models().Get("model"));
  const std::string before = policy->WeightsHash();
  EXPECT_EQ(policy->WeightsHash(), before);
  ASSERT_OK_AND_ASSIGN(const StagePolicy* const copy, models().Get("frozen"));
  EXPECT_EQ(copy->WeightsHash(), before) << "another policy with the same weights";
  (*parts_->policies.Get("model"))->model->NamedParameters().back().second.data().add_(1);
  EXPECT_NE(policy->WeightsHash(), before);
  EXPECT_EQ(copy->WeightsHash(), before);
}

TEST_F(RunModelsTest, WhatIsPublishedIsWhatWorkersGet) {
  ASSERT_OK_AND_ASSIGN(StagePolicy* const policy, models().Get("model"));
  EXPECT_STATUS(parts_->coordinator.Weights(policy->ref()), absl::StatusCode::kNotFound, "");
  ASSERT_OK(policy->Publish());
  ASSERT_OK_AND_ASSIGN(const auto published, parts_->coordinator.Weights(policy->ref()));
  EXPECT_OK(VerifyWeights(*published));
  ASSERT_OK_AND_ASSIGN(const WeightSet packed, (*parts_->policies.Get("model"))->Pack());
  EXPECT_EQ(published->manifest().digest(), packed.manifest.digest());
}

TEST_F(RunModelsTest, AnExportHoldsTheWeights) {
  ASSERT_OK_AND_ASSIGN(StagePolicy* const policy, models().Get("model"));
  ASSERT_OK(policy->ExportTo(folder_ + "/out"));
  ASSERT_OK_AND_ASSIGN(const LoadedFolder exported, LoadFolder(folder_ + "/out"));
  const NamedTensors got = exported.model->NamedParameters();
  const NamedTensors original = (*parts_->policies.Get("model"))->model->NamedParameters();
  ASSERT_EQ(got.size(), original.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(got[i].second.equal(original[i].second)) << got[i].first;
}

TEST_F(RunModelsTest, TheTopKIsThatOfTheWeightsAsTheyAreNow) {
  ASSERT_OK_AND_ASSIGN(const StagePolicy* const policy, models().Get("model"));
  const std::vector<TokenizedTrace> traces = {{.prompt_ids = {3, 4}, .completion_ids = {5, 6, 0}}};
  ASSERT_OK_AND_ASSIGN(const std::vector<TopK> before, policy->TopLogprobs(traces, 8));
  ASSERT_EQ(before.size(), 1u);
  EXPECT_EQ(before[0].ids.size(), 24u);
  ASSERT_OK_AND_ASSIGN(const std::vector<TopK> again, policy->TopLogprobs(traces, 8));
  EXPECT_EQ(again[0].ids, before[0].ids);
  EXPECT_EQ(again[0].logprobs, before[0].logprobs);
  for (const auto& [name, weights] : (*parts_->policies.Get("model"))->model->NamedParameters()) weights.data().mul_(2);
  ASSERT_OK_AND_ASSIGN(const std::vector<TopK> after, policy->TopLogprobs(traces, 8));
  EXPECT_NE(after[0].logprobs, before[0].logprobs);
}

TEST_F(RunModelsTest, LossesAreCheckedBeforeAnythingIsMade) {
  EXPECT_OK(models().CheckLosses(Spec().algorithm.losses()));
  EXPECT_STATUS(models().CheckLosses({{.name = "cross_entropi"}}), absl::StatusCode::kInvalidArgument,
                "did you mean cross_entropy?");
  EXPECT_TRUE(parts_->policies.made().empty());
}

TEST_F(RunModelsTest, AStepMovesTheWeightsAndCountsThem) {
  ASSERT_OK_AND_ASSIGN(const auto learner, models().BeginTraining(Spec(), {}));
  const std::string before = learner->policy().WeightsHash();
  ASSERT_OK_AND_ASSIGN(const StepOutcome outcome, learner->Step(Batch(0), 0));
  EXPECT_NE(outcome.weights_hash, before);
  EXPECT_EQ(outcome.weights_hash, learner->policy().WeightsHash());
  EXPECT_EQ(learner->policy().ref().number(), 1);
  EXPECT_GT(outcome.metrics.at("loss"), 0);
  EXPECT_GT(outcome.metrics.at("grad_norm"), 0);
  EXPECT_EQ(outcome.metrics.at("num_tokens"), 16);
  // Of the ids, whatever was learned from them.
  ASSERT_OK_AND_ASSIGN(const StepOutcome other, learner->Step(Batch(1), 1));
  ASSERT_OK_AND_ASSIGN(const StepOutcome same, learner->Step(Batch(1), 2));
  EXPECT_NE(other.token_ids_hash, outcome.token_ids_hash);
  EXPECT_EQ(same.token_ids_hash, other.token_ids_hash);
  EXPECT_NE(same.weights_hash, other.weights_hash);
}

// Warm-up is counted in the stage's steps: the first moves the weights less than the fourth.
TEST_F(RunModelsTest, TheLearningRateIsThatOfTheStagesStep) {
  const auto change = [&](int64_t step) {
    Parts parts(loaded_.config, alone_.get());
    const auto learner = *parts.models.BeginTraining(Spec(), {});
    const at::Tensor weights = (*parts.policies.Get("model"))->model->NamedParameters().back().second;
    const at::Tensor before = weights.detach().clone();
    EXPECT_OK(learner->Step(Batch(0), step));
    return (weights.detach() - before).abs().max().item<double>();
  };
  // AdamW's first step is about the learning rate, whatever the gradient.
  EXPECT_NEAR(change(3) / change(0), 4, 0.2);
}

// A version that is being read is not the one that is trained on.
TEST_F(RunModelsTest, WhatWasPublishedBeforeAStepIsGoneAfterIt) {
  ASSERT_OK_AND_ASSIGN(const auto learner, models().BeginTraining(Spec(), {}));
  ASSERT_OK(learner->policy().Publish());
  ASSERT_OK_AND_ASSIGN(const auto published, parts_->coordinator.Weights(learner->policy().ref()));
  ASSERT_OK(learner->Step(Batch(0), 0));
  EXPECT_STATUS(published->Open(), absl::StatusCode::kUnavailable, "version 0 of policy model is being trained on");
  ASSERT_OK(learner->policy().Publish());
  ASSERT_OK_AND_ASSIGN(const auto next, parts_->coordinator.Weights(learner->policy().ref()));
  EXPECT_EQ(next->manifest().policy().number(), 1);
  EXPECT_OK(VerifyWeights(*next));
}

// docs/design.md law 7: weights and moments as they were, and the same bits from then on.
TEST_F(RunModelsTest, ALearnerThatGoesOnTakesTheStepsOfOneThatWasNotInterrupted) {
  ASSERT_OK_AND_ASSIGN(const auto undisturbed, models().BeginTraining(Spec(), {}));
  const std::vector<std::string> expected = TakeSteps(*this, *undisturbed, 0, 6);

  Parts before(loaded_.config, alone_.get()), after(loaded_.config, alone_.get());
  StageCursor cursor;
  {
    ASSERT_OK_AND_ASSIGN(const auto learner, before.models.BeginTraining(Spec(), {}));
    TakeSteps(*this, *learner, 0, 3);
    learner->Save(&cursor);
  }
  EXPECT_EQ(cursor.progress.optimizer_steps, 3);
  ASSERT_OK_AND_ASSIGN(const auto trained, before.policies.Trained());
  for (const auto& weights : trained) ASSERT_OK(after.policies.Restore(*weights));
  ASSERT_OK_AND_ASSIGN(const auto resumed, after.models.BeginTraining(Spec(), cursor));
  EXPECT_EQ(resumed->policy().ref().number(), 3);
  const std::vector<std::string> rest = TakeSteps(*this, *resumed, 3, 6);
  EXPECT_EQ(rest, std::vector<std::string>(expected.begin() + 3, expected.end()));

  // Without its moments it is another learner.
  Parts forgetful(loaded_.config, alone_.get());
  for (const auto& weights : trained) ASSERT_OK(forgetful.policies.Restore(*weights));
  ASSERT_OK_AND_ASSIGN(const auto fresh, forgetful.models.BeginTraining(Spec(), {}));
  EXPECT_NE(TakeSteps(*this, *fresh, 3, 6), rest);
}

TEST_F(RunModelsTest, MomentsThatAreMissingOrOfAnotherShapeAreNamed) {
  StageCursor cursor;
  cursor.progress.optimizer_steps = 2;
  EXPECT_STATUS(models().BeginTraining(Spec(), cursor), absl::StatusCode::kInvalidArgument, "exp_avg");
  ASSERT_OK_AND_ASSIGN(const auto learner, models().BeginTraining(Spec(), {}));
  learner->Save(&cursor);
  cursor.progress.optimizer_steps = 2;
  std::map<std::string, at::Tensor> moments = OptimizerTensors::Of(cursor);
  ASSERT_FALSE(moments.empty());
  moments.begin()->second = at::zeros({3, 1, 4});
  const std::string name = moments.begin()->first;
  cursor.learner = std::make_shared<OptimizerTensors>(std::move(moments));
  EXPECT_STATUS(models().BeginTraining(Spec(), cursor), absl::StatusCode::kInvalidArgument, name);
}

TEST_F(RunModelsTest, OnlyTheOptimizersTensorsAreMoments) {
  class Foreign : public LearnerState {};
  StageCursor cursor;
  EXPECT_TRUE(OptimizerTensors::Of(cursor).empty());
  cursor.learner = std::make_shared<Foreign>();
  EXPECT_TRUE(OptimizerTensors::Of(cursor).empty());
  cursor.learner = std::make_shared<OptimizerTensors>(std::map<std::string, at::Tensor>{{"x", at::ones({2})}});
  EXPECT_EQ(OptimizerTensors::Of(cursor).size(), 1u);
}

// The other rank has nothing but the configuration: all it knows comes from here.
TEST_F(RunModelsTest, EveryRankLearnsFromItsShare) {
  RunRanks(2, [&](Collectives& collectives) {
    if (collectives.rank() == 1) {
      EXPECT_OK(FollowRankZero(collectives, loaded_.config));
      return;
    }
    Parts parts(loaded_.config, &collectives);
    const auto learner = parts.models.BeginTraining(Spec(), {});
    ASSERT_OK(learner);
    for (int64_t step = 0; step < 3; ++step) {
      const auto outcome = (*learner)->Step(Batch(step), step);
      ASSERT_OK(outcome);
      EXPECT_EQ(outcome->metrics.at("num_tokens"), 16) << "of the whole batch";
    }
    EXPECT_EQ((*learner)->policy().ref().number(), 3);
    EXPECT_OK(SendEndOfRun(collectives));
  });
}

TEST_F(RunModelsTest, ARankThatIsGoneMakesAStepUnavailable) {
  RunRanks(2, [&](Collectives& collectives) {
    if (collectives.rank() == 1) return;  // its sockets close
    Parts parts(loaded_.config, &collectives);
    const auto learner = parts.models.BeginTraining(Spec(), {});
    const absl::Status status = learner.ok() ? (*learner)->Step(Batch(0), 0).status() : learner.status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    EXPECT_TRUE(collectives.broken());
  });
}

}  // namespace
}  // namespace grpo
