// GRPO by hand-worked numbers; what every algorithm promises is in tests/contract/algorithms_test.cc.
#include <cmath>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_testing.h"
#include "configs/load.h"
#include "gmock/gmock.h"
#include "trainer/algorithm/algorithm.h"

namespace grpo {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

absl::StatusOr<std::unique_ptr<Algorithm>> Make(const std::string& options) {
  ASSIGN_OR_RETURN(const Section section,
                   ParseConfigText(absl::StrCat("{rewards: r", options.empty() ? "" : ", ", options, "}"), "run.yaml"));
  return MakeAlgorithm("grpo", section);
}

v1::ScoredCompletion Completion(int64_t num_tokens, double reward) {
  v1::ScoredCompletion scored;
  for (int64_t t = 0; t < num_tokens; ++t) {
    scored.mutable_completion()->add_ids(static_cast<uint32_t>(10 + t));
    scored.mutable_completion()->add_sample_logprob(-0.5f);
  }
  v1::Span& span = *scored.mutable_completion()->add_spans();
  span.set_num_tokens(static_cast<int32_t>(num_tokens));
  span.set_trainable(true);
  scored.mutable_score()->set_outcome(v1::OUTCOME_SCORED);
  scored.mutable_score()->set_value(reward);
  return scored;
}

v1::ScoredCompletion Excluded(int64_t num_tokens) {
  v1::ScoredCompletion scored = Completion(num_tokens, 0);
  scored.mutable_score()->set_excluded(true);
  scored.mutable_score()->set_outcome(v1::OUTCOME_DEADLINE);
  return scored;
}

// With a prompt of two tokens.
ScoredGroup Group(std::vector<v1::ScoredCompletion> completions) {
  ScoredGroup group;
  group.prompt_ids = {1, 2};
  group.completions = std::move(completions);
  return group;
}

StepBatch Prepare(const std::string& options, std::vector<ScoredGroup> groups) {
  const auto algorithm = Make(options);
  EXPECT_OK(algorithm);
  absl::StatusOr<StepBatch> batch = (*algorithm)->Prepare(RolloutInput{std::move(groups)});
  EXPECT_OK(batch);
  return *std::move(batch);
}

// The stream's number at the sequence's last token, which is a target.
float Last(const TokenStreams& sequence, const std::string& name) {
  return sequence.streams.at(name).floats().back();
}

std::vector<float> LastOfEach(const std::vector<TokenStreams>& sequences, const std::string& name) {
  std::vector<float> values;
  for (const TokenStreams& sequence : sequences) values.push_back(Last(sequence, name));
  return values;
}

// 1, 0, 0, 1: mean 0.5, standard deviation with ddof 1 sqrt(1/3).
TEST(GrpoTest, ARewardCountsByItsDistanceFromTheGroupsMeanInStandardDeviations) {
  const StepBatch batch =
      Prepare("std_eps: 0.25", {Group({Completion(1, 1), Completion(2, 0), Completion(3, 0), Completion(4, 1)})});
  ASSERT_THAT(batch.minibatches, SizeIs(1));
  const float expected = static_cast<float>(0.5 / (std::sqrt(1.0 / 3) + 0.25));
  EXPECT_THAT(LastOfEach(batch.minibatches[0], stream::kAdvantage),
              ElementsAre(FloatNear(expected, 1e-6f), FloatNear(-expected, 1e-6f), FloatNear(-expected, 1e-6f),
                          FloatNear(expected, 1e-6f)));
}

TEST(GrpoTest, WithoutScalingItIsTheDistanceItself) {
  const StepBatch batch = Prepare("scale_rewards: none", {Group({Completion(1, 3), Completion(1, -1)})});
  EXPECT_THAT(LastOfEach(batch.minibatches[0], stream::kAdvantage), ElementsAre(2, -2));
}

// docs/design.md law 1.
TEST(GrpoTest, WhatWeCausedIsInNoBaselineAndNoDenominator) {
  const StepBatch batch = Prepare("scale_rewards: none", {Group({Completion(1, 1), Excluded(100), Completion(3, 0)})});
  const std::vector<TokenStreams>& sequences = batch.minibatches[0];
  ASSERT_THAT(sequences, SizeIs(3));
  EXPECT_EQ(Last(sequences[0], stream::kAdvantage), 0.5f);
  EXPECT_EQ(Last(sequences[2], stream::kAdvantage), -0.5f);
  EXPECT_THAT(sequences[1].trainable_mask, Each(false));
  EXPECT_EQ(Last(sequences[0], stream::kRlWeight), 0.25f) << "of 1 + 3 tokens";
}

TEST(GrpoTest, AGroupWithOneScoreThatCountsTeachesNothing) {
  const StepBatch batch = Prepare("", {Group({Completion(2, 1), Excluded(2), Excluded(2)})});
  EXPECT_THAT(LastOfEach(batch.minibatches[0], stream::kAdvantage), Each(0));
}

TEST(GrpoTest, ATokenMeanCountsTokensAlikeAndASequenceMeanCompletions) {
  const std::vector<ScoredGroup> groups = {Group({Completion(1, 1), Completion(4, 0)}),
                                           Group({Completion(1, 1), Completion(2, 0)})};
  EXPECT_THAT(LastOfEach(Prepare("loss_reduction: token_mean", groups).minibatches[0], stream::kRlWeight),
              Each(FloatNear(1.0f / 8, 1e-7f)));
  EXPECT_THAT(LastOfEach(Prepare("loss_reduction: sequence_mean", groups).minibatches[0], stream::kRlWeight),
              ElementsAre(FloatNear(1.0f / 4, 1e-7f), FloatNear(1.0f / 16, 1e-7f), FloatNear(1.0f / 4, 1e-7f),
                          FloatNear(1.0f / 8, 1e-7f)));
}

TEST(GrpoTest, AMinibatchHasItsOwnDenominatorAndWholeGroups) {
  std::vector<ScoredGroup> groups;
  for (int64_t tokens = 1; tokens <= 5; ++tokens)
    groups.push_back(Group({Completion(tokens, 1), Completion(tokens, 0)}));
  const StepBatch batch = Prepare("minibatches_per_iteration: 2, iterations_per_step: 3", groups);
  EXPECT_EQ(batch.iterations, 3);
  ASSERT_THAT(batch.minibatches, SizeIs(2));
  // Groups 0 and 1 have 2 + 4 tokens, groups 2 to 4 have 6 + 8 + 10.
  EXPECT_THAT(batch.minibatches[0], SizeIs(4));
  EXPECT_THAT(LastOfEach(batch.minibatches[0], stream::kRlWeight), Each(FloatNear(1.0f / 6, 1e-7f)));
  EXPECT_THAT(batch.minibatches[1], SizeIs(6));
  EXPECT_THAT(LastOfEach(batch.minibatches[1], stream::kRlWeight), Each(FloatNear(1.0f / 24, 1e-7f)));
  std::vector<int64_t> numbers;
  for (const auto& sequences : batch.minibatches) {
    for (const TokenStreams& sequence : sequences) numbers.push_back(sequence.group);
  }
  EXPECT_THAT(numbers, ElementsAre(0, 0, 1, 1, 2, 2, 3, 3, 4, 4));
}

// Some groups may have been quarantined: no minibatch is empty.
TEST(GrpoTest, ThereAreNoMoreMinibatchesThanGroups) {
  const StepBatch batch = Prepare("minibatches_per_iteration: 9", {Group({Completion(1, 1), Completion(1, 0)}),
                                                                   Group({Completion(1, 1), Completion(1, 0)})});
  EXPECT_THAT(batch.minibatches, ElementsAre(SizeIs(2), SizeIs(2)));
}

TEST(GrpoTest, TheKlWeighsItsCoefficientTimesTheTokensWeight) {
  const std::vector<ScoredGroup> groups = {Group({Completion(1, 1), Completion(3, 0)})};
  const StepBatch with = Prepare("kl_coefficient: 0.5, reference_policy: base", groups);
  EXPECT_THAT(LastOfEach(with.minibatches[0], stream::kKlWeight), Each(0.125f));
  EXPECT_THAT(LastOfEach(with.minibatches[0], stream::kRlWeight), Each(0.25f));
  EXPECT_FALSE(Prepare("", groups).minibatches[0][0].streams.contains(stream::kKlWeight));
}

TEST(GrpoTest, AReferenceIsOnlyReadWhereTheKlCounts) {
  const auto without = *Make("reference_policy: base");
  EXPECT_THAT(without->frozen(), IsEmpty());
  ASSERT_THAT(without->losses(), SizeIs(1));
  EXPECT_EQ(without->losses()[0].name, "clipped_policy_gradient");
  const auto with = *Make("kl_coefficient: 0.1, reference_policy: base");
  ASSERT_THAT(with->frozen(), SizeIs(1));
  EXPECT_EQ(with->frozen()[0].policy, "base");
  EXPECT_EQ(with->frozen()[0].stream, stream::kRefLogprob);
  ASSERT_THAT(with->losses(), SizeIs(2));
  EXPECT_EQ(with->losses()[1].name, "reference_kl");
}

TEST(GrpoTest, TheClipIsHandedToTheLossToTheLastBit) {
  const auto algorithm = *Make("clip_low: 0.1, clip_high: 0.28");
  const LossTerm clipped = algorithm->losses()[0];
  EXPECT_EQ(SectionText(clipped.options, "clip_low"), "0.1");
  EXPECT_EQ(SectionText(clipped.options, "clip_high"), "0.28");
}

TEST(GrpoTest, ThePlanSaysWhatAStepCosts) {
  const auto algorithm = *Make(
      "prompts_per_step: 4, group_size: 6, iterations_per_step: 3, minibatches_per_iteration: 100, "
      "sampling: {temperature: 0.7, max_new_tokens: 9}");
  const RolloutPlan plan = std::get<RolloutPlan>(algorithm->plan());
  EXPECT_EQ(plan.rewards, "r");
  EXPECT_EQ(plan.prompts_per_step, 4);
  EXPECT_EQ(plan.group_size, 6);
  EXPECT_EQ(plan.sampling.max_new_tokens, 9);
  EXPECT_EQ(plan.updates_per_step, 12) << "a minibatch has a group at least";
  EXPECT_EQ(algorithm->temperature(), 0.7) << "the loss is of the distribution that was sampled";
}

// Law 3: sampling that the loss does not know.
TEST(GrpoTest, SamplingThatTheLossDoesNotKnowIsAConflict) {
  const struct {
    const char *options, *key, *words;
  } cases[] = {
      {"sampling: {temperature: 0}", "sampling.temperature", "every completion of a group would be the same"},
      {"sampling: {top_p: 0.9}", "sampling.top_p", "is below 1, and the loss is of the whole distribution"},
      {"sampling: {top_k: 40}", "sampling.top_k", "is above 0, and the loss is of the whole distribution"},
      {"sampling: {min_p: 0.05}", "sampling.min_p", "is above 0, and the loss is of the whole distribution"},
      {"sampling: {stop: [\"\\n\"]}", "sampling.stop", "no end token of its own ends"},
      {"kl_coefficient: 0.1", "kl_coefficient", "needs a reference_policy"},
  };
  for (const auto& [options, key, words] : cases) {
    ASSERT_OK_AND_ASSIGN(const auto algorithm, Make(options));
    const std::vector<Conflict> conflicts = algorithm->Conflicts("student");
    ASSERT_THAT(conflicts, SizeIs(1)) << options;
    EXPECT_EQ(conflicts[0].key, key);
    EXPECT_THAT(conflicts[0].message, HasSubstr(words));
  }
  for (const char* const options :
       {"", "sampling: {temperature: 0.6, top_p: 1, top_k: 0, min_p: 0, stop: []}",
        "kl_coefficient: 0.1, reference_policy: base", "kl_coefficient: 0, reference_policy: student"}) {
    EXPECT_THAT((*Make(options))->Conflicts("student"), IsEmpty()) << options;
  }
}

TEST(GrpoTest, AllConflictsAreSaidTogether) {
  const auto algorithm = *Make("sampling: {temperature: 0, top_p: 0.5}, kl_coefficient: 1");
  std::set<std::string> keys;
  for (const Conflict& conflict : algorithm->Conflicts("student")) keys.insert(conflict.key);
  EXPECT_THAT(keys, ElementsAre("kl_coefficient", "sampling.temperature", "sampling.top_p"));
}

TEST(GrpoTest, OptionsOutOfRangeNameTheKeyAndItsBounds) {
  const struct {
    const char *options, *words;
  } cases[] = {
      {"group_size: 1", "run.yaml:1: group_size: is 1; it must be between 2 and 4096"},
      {"prompts_per_step: 0", "prompts_per_step: is 0"},
      {"clip_low: 1.5", "clip_low: is 1.5; it must be between 0 and 1"},
      {"std_eps: -1", "std_eps: is -1"},
      {"kl_coefficient: -0.1", "kl_coefficient: is -0.1"},
      {"iterations_per_step: 0", "iterations_per_step: is 0"},
      {"scale_rewards: batch", "scale_rewards: is batch; it must be one of group, none"},
      {"loss_reduction: mean", "loss_reduction: is mean; it must be one of token_mean, sequence_mean"},
      {"groupsize: 4", "groupsize: unknown key; did you mean group_size?"},
  };
  for (const auto& [options, words] : cases) EXPECT_STATUS(Make(options), absl::StatusCode::kInvalidArgument, words);
  EXPECT_STATUS(MakeAlgorithm("grpo", Section()), absl::StatusCode::kInvalidArgument, "rewards: is missing");
}

}  // namespace
}  // namespace grpo
