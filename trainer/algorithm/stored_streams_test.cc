#include "trainer/algorithm/stored_streams.h"

#include "common/status_testing.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;

TEST(StoredStreamsTest, TheTopKStandsAtTheCompletionsTokensAndThePromptHasZeros) {
  const TokenizedTrace trace = {.prompt_ids = {7, 8},
                                .completion_ids = {9, 0},
                                .top_ids = {9, 4, 0, 9},
                                .top_logprobs = {-0.25f, -2, -0.125f, -3}};
  TokenStreams sequence{.ids = {7, 8, 9, 0}, .trainable_mask = {false, false, true, true}};
  AddStoredTopK(trace, &sequence);
  ASSERT_EQ(sequence.streams.size(), 2u);
  const Stream& ids = sequence.streams.at(stream::kTeacherTopIds);
  EXPECT_EQ(ids.width, 2);
  EXPECT_THAT(ids.ints(), ElementsAre(0, 0, 0, 0, 9, 4, 0, 9));
  const Stream& logprobs = sequence.streams.at(stream::kTeacherTopLogprob);
  EXPECT_EQ(logprobs.width, 2);
  EXPECT_THAT(logprobs.floats(), ElementsAre(0, 0, 0, 0, -0.25f, -2, -0.125f, -3));
}

}  // namespace
}  // namespace grpo
