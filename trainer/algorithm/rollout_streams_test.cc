#include "trainer/algorithm/rollout_streams.h"

#include <vector>

#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

struct TestSpan {
  int32_t num_tokens;
  bool trainable;
};

v1::ScoredCompletion Completion(const std::vector<uint32_t>& ids, const std::vector<TestSpan>& spans) {
  v1::ScoredCompletion scored;
  v1::Completion& completion = *scored.mutable_completion();
  for (const uint32_t id : ids) {
    completion.add_ids(id);
    completion.add_sample_logprob(-0.25f * static_cast<float>(id));
  }
  for (const auto& [num_tokens, trainable] : spans) {
    v1::Span& span = *completion.add_spans();
    span.set_num_tokens(num_tokens);
    span.set_trainable(trainable);
  }
  return scored;
}

ScoredGroup Group(std::vector<v1::ScoredCompletion> completions) {
  ScoredGroup group;
  group.prompt_ids = {8, 9};
  group.completions = std::move(completions);
  return group;
}

TEST(RolloutStreamsTest, ASequenceIsThePromptAndWhatWasSampledAfterIt) {
  const std::vector<TokenStreams> sequences =
      RolloutStreams(Group({Completion({1, 2}, {{2, true}}), Completion({4}, {{1, true}})}), /*number=*/6);
  ASSERT_THAT(sequences, SizeIs(2));
  EXPECT_THAT(sequences[0].ids, ElementsAre(8, 9, 1, 2));
  EXPECT_THAT(sequences[0].trainable_mask, ElementsAre(false, false, true, true));
  EXPECT_THAT(sequences[0].streams.at(stream::kSampleLogprob).floats(), ElementsAre(0, 0, -0.25f, -0.5f));
  EXPECT_EQ(sequences[0].group, 6);
  EXPECT_THAT(sequences[1].ids, ElementsAre(8, 9, 4));
  EXPECT_THAT(sequences[1].streams.at(stream::kSampleLogprob).floats(), ElementsAre(0, 0, -1));
  EXPECT_EQ(sequences[1].group, 6);
}

// What a tool wrote into the completion, or another policy, is read and not learned.
TEST(RolloutStreamsTest, OnlyTrainableSpansAreTargets) {
  const auto sequence = RolloutStreams(Group({Completion({1, 2, 3, 4, 5}, {{1, true}, {2, false}, {2, true}})}), 0)[0];
  EXPECT_THAT(sequence.trainable_mask, ElementsAre(false, false, true, false, false, true, true));
}

TEST(RolloutStreamsTest, TokensThatNoSpanNamesAreNoTargets) {
  const auto sequence = RolloutStreams(Group({Completion({1, 2, 3}, {{1, true}})}), 0)[0];
  EXPECT_THAT(sequence.trainable_mask, ElementsAre(false, false, true, false, false));
  const auto spanless = RolloutStreams(Group({Completion({1, 2}, {})}), 0)[0];
  EXPECT_THAT(spanless.trainable_mask, Each(false));
}

// docs/design.md law 1: it stays in its place, so that the batch is the same for whoever counts it.
TEST(RolloutStreamsTest, AnExcludedCompletionHasNoTarget) {
  v1::ScoredCompletion excluded = Completion({1, 2}, {{2, true}});
  excluded.mutable_score()->set_excluded(true);
  const auto sequences = RolloutStreams(Group({excluded, Completion({3}, {{1, true}})}), 0);
  ASSERT_THAT(sequences, SizeIs(2));
  EXPECT_THAT(sequences[0].ids, ElementsAre(8, 9, 1, 2));
  EXPECT_THAT(sequences[0].trainable_mask, ElementsAre(false, false, false, false));
  EXPECT_THAT(sequences[1].trainable_mask, ElementsAre(false, false, true));
}

TEST(RolloutStreamsTest, AnEmptyCompletionIsItsPrompt) {
  const auto sequences = RolloutStreams(Group({Completion({}, {})}), 0);
  ASSERT_THAT(sequences, SizeIs(1));
  EXPECT_THAT(sequences[0].ids, ElementsAre(8, 9));
  EXPECT_THAT(sequences[0].trainable_mask, Each(false));
  EXPECT_THAT(RolloutStreams(Group({}), 0), IsEmpty());
}

}  // namespace
}  // namespace grpo
