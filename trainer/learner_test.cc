#include "trainer/learner.h"

#include <ATen/Parallel.h>

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "trainer/fingerprint.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr double kLearningRate = 0.01;

using Frozen = std::vector<FrozenPolicy>;

// Cross-entropy, with the frozen policies that the test says, whose streams no loss reads.
class TestAlgorithm : public Algorithm {
 public:
  explicit TestAlgorithm(std::vector<FrozenPolicy> frozen = {}, std::string loss = "cross_entropy")
      : frozen_(std::move(frozen)), loss_(std::move(loss)) {}
  StepPlan plan() const override { return CorpusPlan(); }
  std::vector<LossTerm> losses() const override { return {{.name = loss_}}; }
  std::vector<FrozenPolicy> frozen() const override { return frozen_; }
  absl::StatusOr<StepBatch> Prepare(const StepInput&) const override { return StepBatch(); }

 private:
  const std::vector<FrozenPolicy> frozen_;
  const std::string loss_;
};

PolicyOptions Tiny() {
  PolicyOptions options;
  options.random_init.tokenizer = "configs/tokenizers/chickens_rabbits.json";
  options.random_init.hidden_size = 8;
  options.random_init.intermediate_size = 12;
  options.random_init.num_layers = 1;
  options.random_init.num_heads = 2;
  options.random_init.num_kv_heads = 2;
  return options;
}

// One sequence a minibatch, with this weight on each of its targets.
StepBatch Batch(int64_t num_minibatches, int64_t iterations, float weight = 0.25f) {
  StepBatch batch;
  batch.iterations = iterations;
  for (int64_t i = 0; i < num_minibatches; ++i) {
    TokenStreams sequence;
    for (int64_t t = 0; t < 5; ++t) sequence.ids.push_back(10 + i + t);
    sequence.trainable_mask = {false, true, true, true, true};
    sequence.streams[stream::kCeWeight] = std::vector<float>(5, weight);
    batch.minibatches.push_back({std::move(sequence)});
  }
  return batch;
}

class LearnerTest : public ::testing::Test {
 protected:
  // A pool of threads would spend more on waking up than on these tensors.
  void SetUp() override { at::set_num_threads(1); }

  absl::StatusOr<std::unique_ptr<Learner>> Make(const Algorithm& algorithm) {
    const LearnerSpec spec{.policy = "student", .algorithm = algorithm, .optimizer = optimizer_, .num_steps = 9};
    return Learner::Create(trainer_, spec, &policies_, alone_.get());
  }
  std::string Hash() { return WeightsHash((*policies_.Get("student"))->model->NamedParameters()); }

  const TrainerOptions trainer_;
  const OptimizerOptions optimizer_;
  const std::unique_ptr<Collectives> alone_ = Collectives::SingleRank();
  PolicyStore policies_{{{"student", Tiny()}, {"teacher", Tiny()}, {"reference", Tiny()}}, /*run_seed=*/1};
};

TEST(FrozenPoliciesTest, AreNamedOnceInTheOrderOfTheAlgorithm) {
  EXPECT_THAT(FrozenPolicies(TestAlgorithm()), IsEmpty());
  EXPECT_THAT(FrozenPolicies(TestAlgorithm(Frozen{{"teacher", "a"}, {"reference", "b"}, {"teacher", "c"}})),
              ElementsAre("teacher", "reference"));
}

TEST_F(LearnerTest, MakesTheTrainedPolicyAndThoseThatAreRead) {
  ASSERT_OK_AND_ASSIGN(const auto learner, Make(TestAlgorithm(Frozen{{"teacher", "a"}, {"teacher", "b"}})));
  EXPECT_EQ(learner->policy().id, "student");
  ASSERT_EQ(learner->frozen().size(), 1u);
  EXPECT_EQ(learner->frozen()[0]->id, "teacher");
  EXPECT_EQ(policies_.made().count("reference"), 0u);
  for (const auto& [name, parameter] : learner->policy().model->NamedParameters())
    EXPECT_TRUE(parameter.requires_grad()) << name;
  for (const auto& [name, parameter] : learner->frozen()[0]->model->NamedParameters())
    EXPECT_FALSE(parameter.requires_grad()) << name << " is only read";
}

TEST_F(LearnerTest, WhatCannotBeMadeIsNamed) {
  EXPECT_STATUS(Make(TestAlgorithm(Frozen{{"nobody", "a"}})), absl::StatusCode::kNotFound, "nobody");
  EXPECT_STATUS(Make(TestAlgorithm({}, "cross_entropi")), absl::StatusCode::kInvalidArgument,
                "did you mean cross_entropy?");
}

TEST_F(LearnerTest, ThePolicysNumberCountsItsUpdates) {
  ASSERT_OK_AND_ASSIGN(const auto learner, Make(TestAlgorithm()));
  ASSERT_OK(learner->Step(Batch(/*num_minibatches=*/3, /*iterations=*/2), kLearningRate, /*step=*/0));
  EXPECT_EQ(learner->policy().number, 6);
  EXPECT_EQ(learner->optimizer().num_steps(), 6);
  ASSERT_OK(learner->Step(Batch(1, 1), kLearningRate, /*step=*/0));
  EXPECT_EQ(learner->policy().number, 7);
  // Every group of the step was quarantined: nothing was learned.
  ASSERT_OK(learner->Step(Batch(0, 1), kLearningRate, /*step=*/0));
  EXPECT_EQ(learner->policy().number, 7);
}

TEST_F(LearnerTest, AnUpdateThatIsNotTakenIsNotCounted) {
  ASSERT_OK_AND_ASSIGN(const auto learner, Make(TestAlgorithm()));
  const std::string before = Hash();
  ASSERT_OK_AND_ASSIGN(const StepResult result,
                       learner->Step(Batch(1, 2, std::numeric_limits<float>::infinity()), kLearningRate, /*step=*/0));
  EXPECT_EQ(result.metrics.at("skipped_updates"), 2);
  EXPECT_EQ(learner->policy().number, 0);
  EXPECT_EQ(Hash(), before);
  ASSERT_OK(learner->Step(Batch(1, 1), kLearningRate, /*step=*/0));
  EXPECT_EQ(learner->policy().number, 1) << "and the next one is taken";
}

// Whoever reads a version gets it whole, or hears that it is gone: never half of it and half of the next.
TEST_F(LearnerTest, AnUpdateWaitsForWhoeverReadsTheWeights) {
  ASSERT_OK_AND_ASSIGN(const auto learner, Make(TestAlgorithm()));
  ASSERT_OK_AND_ASSIGN(const auto weights, learner->policy().Weights());
  const std::string before = Hash();
  auto reader = std::make_unique<WeightSource::Reader>(weights->Open().value());
  std::thread training([&] {
    const auto result = learner->Step(Batch(2, 1), kLearningRate, /*step=*/0);
    ASSERT_OK(result);
    EXPECT_GT(result->metrics.at("weights_wait_seconds"), 0);
  });
  // Nobody begins to read any more as soon as the update wants to begin.
  while (weights->Open().ok()) std::this_thread::yield();
  std::string bytes(static_cast<size_t>(weights->manifest().payload_bytes()), '\0');
  for (size_t offset = 0; offset < bytes.size(); offset += 64) {
    EXPECT_OK(reader->Read(offset, absl::MakeSpan(bytes).subspan(offset, 64)));
    std::this_thread::yield();
  }
  EXPECT_OK(VerifyWeights(weights->manifest(), bytes)) << "of the version before";
  reader.reset();
  training.join();
  EXPECT_NE(Hash(), before);
  EXPECT_EQ(learner->policy().number, 2);
}

TEST_F(LearnerTest, WithoutReadersNothingIsWaitedFor) {
  ASSERT_OK_AND_ASSIGN(const auto learner, Make(TestAlgorithm()));
  ASSERT_OK_AND_ASSIGN(const StepResult result, learner->Step(Batch(2, 1), kLearningRate, /*step=*/0));
  EXPECT_EQ(result.metrics.at("weights_wait_seconds"), 0);
}

TEST_F(LearnerTest, TheFrozenPoliciesStayAsTheyWere) {
  ASSERT_OK_AND_ASSIGN(const auto learner, Make(TestAlgorithm(Frozen{{"teacher", "teacher_logprob"}})));
  const auto hash = [&] { return WeightsHash(learner->frozen()[0]->model->NamedParameters()); };
  const std::string before = hash(), student = Hash();
  ASSERT_OK(learner->Step(Batch(2, 1), kLearningRate, /*step=*/0));
  EXPECT_EQ(hash(), before);
  EXPECT_NE(Hash(), student);
  EXPECT_EQ(learner->frozen()[0]->number, 0);
}

}  // namespace
}  // namespace grpo
