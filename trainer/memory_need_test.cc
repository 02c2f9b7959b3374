#include "trainer/memory_need.h"

#include <filesystem>
#include <memory>

#include "absl/strings/str_cat.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "trainer/memory_need_testing.h"
#include "trainer/stage/files.h"
#include "trainer/stage/testing.h"

namespace grpo {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

PolicyOptions Dtypes(const std::string& compute, const std::string& head = "float32") {
  PolicyOptions policy;
  policy.compute_dtype = compute;
  policy.head_dtype = head;
  return policy;
}

TrainerOptions ThousandTokens() {
  TrainerOptions options;
  options.micro_batch_tokens = 1000;
  return options;
}

TEST(TrainerMemoryTest, HoldsWeightsGradientsAndTwoMoments) {
  const ModelConfig model = SmallModel();
  const TrainerMemory memory = EstimateTrainer(model, {}, ThousandTokens());
  const double weights = 4.0 * model.NumParameters();
  EXPECT_EQ(memory.weights, weights);
  EXPECT_EQ(memory.optimizer, 2 * weights);
  // 1000 tokens x 4 bytes x (3 layers x (10 x 64 + 3 x 192) + 58 logits).
  EXPECT_EQ(memory.activations, 1000 * 4 * (3 * (640 + 576) + 58));
  EXPECT_EQ(memory.Held(), 4 * weights);
  EXPECT_EQ(memory.Total(), 4 * weights + memory.activations);
}

TEST(TrainerMemoryTest, CheckpointingChunksAndBfloat16NeedLess) {
  const ModelConfig model = SmallModel();
  TrainerOptions options = ThousandTokens();
  options.head_chunk_bytes = 100;
  // Two float32 numbers of the residual stream stay; the layers' rounded matrices come along, and the head's.
  const double rounded = 1000 * 3 * (4 * 128 + 2 * (512 + 576)) + 100 + 2 * kMatrices;
  EXPECT_EQ(EstimateTrainer(model, Dtypes("bfloat16"), options).activations, rounded);
  EXPECT_EQ(EstimateTrainer(model, Dtypes("bfloat16", "bfloat16"), options).activations, rounded + 2 * kHead);
  options.activation_checkpointing = true;
  EXPECT_EQ(EstimateTrainer(model, {}, options).activations, 1000 * (3 * 4 * 64 + 4 * (640 + 576)) + 100);
  // Of one layer at a time.
  EXPECT_EQ(EstimateTrainer(model, Dtypes("bfloat16"), options).activations,
            1000 * (3 * 4 * 64 + 4 * 128 + 2 * (512 + 576)) + 100 + 2 * kMatrices / 3);
}

TEST(TrainerMemoryTest, TheBuffersForWorkersHoldWhatTravelsTwice) {
  const ModelConfig model = SmallModel();
  EXPECT_EQ(EstimateWeightBuffers(model, "float32"), 2 * 4.0 * model.NumParameters());
  EXPECT_EQ(EstimateWeightBuffers(model, "bfloat16"), 2 * (4.0 * model.NumParameters() - 2 * kMatrices));
}

TEST(FrozenMemoryTest, HoldsWeightsAndWhileItReadsOneLayerAndWhatIsAskedFor) {
  const ModelConfig model = SmallModel();
  const FrozenMemory exact = EstimateFrozen(model, {}, ThousandTokens(), /*num_layers_read=*/0);
  EXPECT_EQ(exact.weights, 4.0 * model.NumParameters());
  // One layer's numbers and the last hidden states.
  EXPECT_EQ(exact.activations, 1000 * 4 * (640 + 576 + 64));
  EXPECT_EQ(EstimateFrozen(model, {}, ThousandTokens(), /*num_layers_read=*/2).activations,
            exact.activations + 1000 * 4 * 2 * 64);
  // Gate and up, 384 x 64, are the largest matrix; weights stay float32.
  const FrozenMemory rounded = EstimateFrozen(model, Dtypes("bfloat16"), ThousandTokens(), /*num_layers_read=*/0);
  EXPECT_EQ(rounded.weights, exact.weights);
  EXPECT_EQ(rounded.activations, 1000 * (4 * 128 + 2 * (512 + 576) + 4 * 64) + 2 * 384 * 64);
  EXPECT_EQ(EstimateFrozen(model, Dtypes("bfloat16", "bfloat16"), ThousandTokens(), /*num_layers_read=*/0).activations,
            rounded.activations + 2 * kHead);
}

constexpr char kTeacher[] =
    "policies.teacher={random_init: {tokenizer: tokenizer.json, hidden_size: 12, intermediate_size: 20, num_layers: 2, "
    "num_heads: 2, num_kv_heads: 1, max_positions: 1024}}";
constexpr char kCopy[] = "policies.copy={initialize_from: model}";
constexpr char kPretrain[] =
    "  - {name: first, type: train, algorithm: pretrain, policy: model, data: corpus, steps: 5, row_tokens: 16}\n";
constexpr char kSoften[] =
    "  - {name: soften, type: train, algorithm: logit_distill, policy: copy, data: traces, steps: 5, "
    "teachers: [{policy: teacher}]}\n";
constexpr char kLiken[] =
    "  - {name: liken, type: train, algorithm: feature_distill, policy: model, data: traces, steps: 5, "
    "features: {teacher: teacher, pairs: [{student: 1, teacher: 1}, {student: 1, teacher: 2}]}}\n";
constexpr char kEvaluate[] =
    "  - {name: ask, type: evaluate, policy: copy, data: problems, rewards: rules, problems: 4, "
    "samples_per_problem: 1, sampling: {max_new_tokens: 8}}\n";

class StageMemoryTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::remove_all(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  absl::StatusOr<std::vector<StageMemory>> Memories(const std::string& stages, int64_t first_stage = 0,
                                                    const std::vector<std::string>& overrides = {kTeacher, kCopy}) {
    ASSIGN_OR_RETURN(loaded_, LoadTestConfig(folder_, stages, overrides));
    preflight_ = std::make_unique<Preflight>(loaded_.config);
    return StageMemories(loaded_.config, *preflight_, first_stage);
  }
  // Bytes of the policy's weights.
  double Weights(const std::string& policy) {
    return 4.0 * static_cast<double>((*preflight_->Shape(policy))->config.NumParameters());
  }

  const std::string folder_ = ::testing::TempDir() + "/memory_need_test";
  LoadedConfig loaded_;
  std::unique_ptr<Preflight> preflight_;
};

TEST_F(StageMemoryTest, EachRankHoldsWhatIsTrainedAndWhatIsReadAndWhatWasMadeBefore) {
  ASSERT_OK_AND_ASSIGN(const auto stages, Memories(absl::StrCat(kPretrain, kSoften, kEvaluate)));
  ASSERT_EQ(stages.size(), 3u);
  const double model = Weights("model"), teacher = Weights("teacher");
  EXPECT_EQ(stages[0].stage, "first");
  EXPECT_EQ(stages[0].trained, "model");
  EXPECT_TRUE(stages[0].frozen.empty());
  EXPECT_EQ(stages[0].AtLeast(1), 4 * model);
  EXPECT_EQ(stages[0].AtLeast(3), 3 * 4 * model);
  // The copy has weights, a gradient and moments of its own; what it came from stays.
  ASSERT_EQ(stages[1].frozen.size(), 1u);
  EXPECT_EQ(stages[1].frozen[0].policy, "teacher");
  EXPECT_EQ(stages[1].frozen[0].key, "teachers.0.policy");
  EXPECT_EQ(stages[1].frozen[0].memory.weights, teacher);
  EXPECT_EQ(stages[1].AtLeast(1), 4 * model + teacher + model);
  EXPECT_EQ(stages[1].AtLeast(2), 2 * (4 * model + teacher + model));
  // Nothing is trained: all that was made is there.
  EXPECT_EQ(stages[2].AtLeast(1), model + model + teacher);
}

TEST_F(StageMemoryTest, WhatOnlyRankZeroHasCountsOnce) {
  // The policy that the copy is initialised from is made by nobody but rank 0.
  ASSERT_OK_AND_ASSIGN(const auto stages, Memories(kSoften));
  const double copy = Weights("copy"), teacher = Weights("teacher");
  EXPECT_EQ(stages[0].AtLeast(1), 4 * copy + teacher + copy);
  EXPECT_EQ(stages[0].AtLeast(3), 3 * (4 * copy + teacher) + copy);
}

TEST_F(StageMemoryTest, ARunThatGoesOnNeedsNothingOfStagesThatAreDone) {
  ASSERT_OK_AND_ASSIGN(const auto stages, Memories(absl::StrCat(kPretrain, kSoften, kEvaluate), /*first_stage=*/2));
  ASSERT_EQ(stages.size(), 1u);
  EXPECT_EQ(stages[0].stage, "ask");
  EXPECT_EQ(stages[0].AtLeast(1), 2 * Weights("model") + Weights("teacher"));
  // The other ranks begin anew.
  EXPECT_EQ(stages[0].AtLeast(2), stages[0].AtLeast(1));
  ASSERT_OK_AND_ASSIGN(const StageMemory most, MemoryNeed(loaded_.config, *preflight_, /*num_ranks=*/1));
  EXPECT_EQ(most.stage, "soften");
  ASSERT_OK_AND_ASSIGN(const StageMemory nothing, MemoryNeed(loaded_.config, *preflight_, /*num_ranks=*/1, 3));
  EXPECT_EQ(nothing.AtLeast(1), 0);
}

TEST_F(StageMemoryTest, ProjectionsAndLayersThatAreReadCount) {
  ASSERT_OK_AND_ASSIGN(const auto stages, Memories(kLiken));
  // Two pairs of 8 x 12, each with a gradient and two moments.
  EXPECT_EQ(stages[0].own_parameters, 2 * 8 * 12 * 16);
  EXPECT_EQ(stages[0].AtLeast(1), 4 * Weights("model") + stages[0].own_parameters + Weights("teacher"));
  ASSERT_EQ(stages[0].frozen.size(), 1u);
  EXPECT_EQ(stages[0].frozen[0].key, "features.teacher");
  const ModelConfig& teacher = (*preflight_->Shape("teacher"))->config;
  EXPECT_EQ(stages[0].frozen[0].memory.activations,
            EstimateFrozen(teacher, {}, loaded_.config.trainer, /*num_layers_read=*/2).activations);
}

TEST_F(StageMemoryTest, AReferenceThatNoTermReadsIsNotMade) {
  const std::string stage =
      "  - {name: rl, type: train, algorithm: grpo, policy: model, data: problems, rewards: rules, steps: 2, "
      "prompts_per_step: 4, group_size: 2, sampling: {max_new_tokens: 8}, reference_policy: teacher, ";
  ASSERT_OK_AND_ASSIGN(const auto without, Memories(stage + "kl_coefficient: 0}\n"));
  EXPECT_EQ(without[0].AtLeast(1), 4 * Weights("model"));
  ASSERT_OK_AND_ASSIGN(const auto with, Memories(stage + "kl_coefficient: 0.1}\n"));
  EXPECT_EQ(with[0].AtLeast(1), 4 * Weights("model") + Weights("teacher"));
  EXPECT_EQ(with[0].frozen[0].key, "reference_policy");
}

TEST_F(StageMemoryTest, ATeacherLargerThanAnyMachineIsRefusedByName) {
  const std::string giant =
      "policies.teacher={random_init: {tokenizer: tokenizer.json, hidden_size: 65536, intermediate_size: 65536, "
      "num_layers: 1000, num_heads: 1024, num_kv_heads: 1, max_positions: 1024}}";
  ASSERT_OK(Memories(absl::StrCat(kPretrain, kSoften), 0, {giant, kCopy}));
  const RunFiles files(loaded_.config, folder_, loaded_.data_sha256, /*artifact_sha256=*/{});
  ASSERT_OK(preflight_->CheckAhead(files));
  ASSERT_OK_AND_ASSIGN(const StageMemory need, MemoryNeed(loaded_.config, *preflight_, /*num_ranks=*/2));
  const absl::Status refused = CheckMemory(need, /*num_ranks=*/2, {int64_t{1} << 45});
  EXPECT_STATUS(refused, absl::StatusCode::kFailedPrecondition,
                "policies.teacher (stages.soften.teachers.0.policy), which is only read, takes");
  EXPECT_THAT(std::string(refused.message()),
              AllOf(HasSubstr("stage soften needs at least"), HasSubstr("this machine has 32768.00 GiB"),
                    HasSubstr("in 2 trainer ranks"), HasSubstr("lower trainer.ranks"), HasSubstr("teacher_top_k")));
  // Not known: not refused.
  EXPECT_OK(CheckMemory(need, /*num_ranks=*/2, {std::nullopt}));
}

TEST_F(StageMemoryTest, AGpuHoldsWhatRankZeroNeedsWithItsActivations) {
  ASSERT_OK(Memories(absl::StrCat(kPretrain, kSoften)));
  ASSERT_OK_AND_ASSIGN(const StageMemory need, MemoryNeed(loaded_.config, *preflight_, /*num_ranks=*/1));
  EXPECT_GT(need.OfRankZero(), need.AtLeast(1));
  ASSERT_OK_AND_ASSIGN(const double bytes, RankGpuBytes(loaded_.config, *preflight_));
  EXPECT_GE(bytes, need.OfRankZero() + kGpuLibrariesBytes);
  EXPECT_STATUS(CheckMemory(need, /*num_ranks=*/1, {.bytes = 1000, .name = "the GPU"}),
                absl::StatusCode::kFailedPrecondition, "and the GPU has 0.00 GiB");
}

TEST_F(StageMemoryTest, OnlyWhatCannotFitIsRefused) {
  ASSERT_OK(Memories(absl::StrCat(kPretrain, kSoften)));
  ASSERT_OK_AND_ASSIGN(const StageMemory need, MemoryNeed(loaded_.config, *preflight_, /*num_ranks=*/1));
  const auto bytes = static_cast<int64_t>(need.AtLeast(1));
  EXPECT_OK(CheckMemory(need, /*num_ranks=*/1, {bytes}));
  EXPECT_STATUS(CheckMemory(need, /*num_ranks=*/1, {bytes - 1}), absl::StatusCode::kFailedPrecondition, "stage soften");
  // The same stage in another rank beside it.
  EXPECT_FALSE(CheckMemory(need, /*num_ranks=*/2, {bytes}).ok());
  ASSERT_OK(Memories(kPretrain));
  ASSERT_OK_AND_ASSIGN(const StageMemory alone, MemoryNeed(loaded_.config, *preflight_, /*num_ranks=*/1));
  const absl::Status refused = CheckMemory(alone, /*num_ranks=*/1, {1000});
  EXPECT_THAT(std::string(refused.message()),
              AllOf(HasSubstr("policies.model (stages.first.policy), which is trained"), HasSubstr("smaller policies"),
                    Not(HasSubstr("trainer.ranks")), Not(HasSubstr("teacher_top_k"))));
}

}  // namespace
}  // namespace grpo
