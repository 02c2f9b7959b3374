#include "trainer/algorithm/trace_streams.h"

#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;

TEST(TraceStreamsTest, TheStoredTopKStandsAtTheCompletionsTokensAndThePromptHasZeros) {
  const TokenizedTrace trace = {.prompt_ids = {7, 8},
                                .completion_ids = {9, 0},
                                .top_ids = {9, 4, 0, 9},
                                .top_logprobs = {-0.25f, -2, -0.125f, -3}};
  const TokenStreams sequence = TraceStreams(trace);
  EXPECT_THAT(sequence.ids, ElementsAre(7, 8, 9, 0));
  EXPECT_THAT(sequence.trainable_mask, ElementsAre(false, false, true, true));
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
