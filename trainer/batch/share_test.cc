#include "trainer/batch/share.h"

#include <algorithm>

#include "common/seeds.h"
#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "trainer/batch/wire.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;

// A sequence of `size` tokens that is known by its first id.
TokenStreams Sequence(int64_t id, int64_t size) {
  TokenStreams sequence;
  sequence.ids.assign(size, id);
  sequence.trainable_mask.assign(size, true);
  return sequence;
}

std::vector<int64_t> Ids(const std::vector<TokenStreams>& sequences) {
  std::vector<int64_t> ids;
  for (const TokenStreams& sequence : sequences) ids.push_back(sequence.ids[0]);
  return ids;
}

int64_t NumTokens(const std::vector<TokenStreams>& sequences) {
  int64_t num_tokens = 0;
  for (const TokenStreams& sequence : sequences) num_tokens += static_cast<int64_t>(sequence.ids.size());
  return num_tokens;
}

TEST(ShareOutTest, GivesTheLongestFirstAndKeepsTheOrderWithinAPart) {
  StepBatch batch{.minibatches = {{Sequence(0, 2), Sequence(1, 9), Sequence(2, 3), Sequence(3, 5)}},
                  .iterations = 2,
                  .metrics = {{"reward", 0.5}}};
  const std::vector<StepBatch> parts = ShareOut(std::move(batch), 2);
  ASSERT_EQ(parts.size(), 2u);
  // 9 | 5, 3 and the last 2 to the part that has 8.
  EXPECT_THAT(Ids(parts[0].minibatches[0]), ElementsAre(1));
  EXPECT_THAT(Ids(parts[1].minibatches[0]), ElementsAre(0, 2, 3));
  EXPECT_EQ(parts[1].iterations, 2);
  EXPECT_EQ(parts[0].metrics.at("reward"), 0.5);
  EXPECT_TRUE(parts[1].metrics.empty());
}

TEST(ShareOutTest, LosesNothingAndStaysBalancedForAnyBatch) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Rng rng(seed);
    const int num_ranks = 1 + static_cast<int>(rng.Below(5));
    StepBatch batch;
    batch.minibatches.resize(1 + rng.Below(3));
    int64_t next = 0;
    for (auto& sequences : batch.minibatches) {
      for (uint64_t i = rng.Below(20); i > 0; --i) sequences.push_back(Sequence(next++, 1 + rng.Below(40)));
    }
    const StepBatch before = batch;
    const std::vector<StepBatch> parts = ShareOut(std::move(batch), num_ranks);
    for (size_t m = 0; m < before.minibatches.size(); ++m) {
      std::vector<int64_t> ids, num_tokens;
      for (const StepBatch& part : parts) {
        ASSERT_EQ(part.minibatches.size(), before.minibatches.size());
        const std::vector<int64_t> of_part = Ids(part.minibatches[m]);
        EXPECT_TRUE(std::is_sorted(of_part.begin(), of_part.end()));
        ids.insert(ids.end(), of_part.begin(), of_part.end());
        num_tokens.push_back(NumTokens(part.minibatches[m]));
      }
      std::sort(ids.begin(), ids.end());
      EXPECT_EQ(ids, Ids(before.minibatches[m]));
      // No part has more than another by over the longest sequence.
      const auto [least, most] = std::minmax_element(num_tokens.begin(), num_tokens.end());
      EXPECT_LE(*most - *least, 40);
    }
  }
}

// A completion of `size` tokens for the prompt of a group.
TokenStreams Completion(int64_t group, int64_t prompt_size, int64_t size) {
  TokenStreams sequence = Sequence(group, prompt_size + size);
  std::fill_n(sequence.trainable_mask.begin(), prompt_size, false);
  sequence.group = group;
  return sequence;
}

TEST(ShareOutTest, GroupsStayTogetherAndCountTheirPromptOnce) {
  StepBatch batch;
  batch.minibatches.resize(1);
  // 10 + 4 x 5 = 30 tokens a group; the third has the tokens of the first two.
  for (int64_t i = 0; i < 4; ++i) batch.minibatches[0].push_back(Completion(0, 10, 5));
  for (int64_t i = 0; i < 4; ++i) batch.minibatches[0].push_back(Completion(1, 10, 5));
  for (int64_t i = 0; i < 4; ++i) batch.minibatches[0].push_back(Completion(2, 20, 10));
  const std::vector<StepBatch> parts = ShareOut(std::move(batch), 2);
  EXPECT_THAT(Ids(parts[0].minibatches[0]), ElementsAre(2, 2, 2, 2));
  EXPECT_THAT(Ids(parts[1].minibatches[0]), ElementsAre(0, 0, 0, 0, 1, 1, 1, 1));
}

TEST(ShareOutTest, AGroupIsTakenApartForRanksThatHadNothing) {
  for (const int num_ranks : {2, 3, 4}) {
    StepBatch batch;
    batch.minibatches.resize(1);
    for (int64_t i = 0; i < 12; ++i) batch.minibatches[0].push_back(Completion(0, 4, 10));
    for (const StepBatch& part : ShareOut(std::move(batch), num_ranks)) {
      // 120 tokens of their own, and the prompt for each rank; the longest is 14.
      EXPECT_NEAR(static_cast<double>(part.minibatches[0].size()), 12.0 / num_ranks, 1.4);
    }
  }
}

TEST(ShareOutTest, ASequenceTakesItsGroupAndItsStreamsAlongToAnotherRank) {
  StepBatch batch;
  batch.minibatches.resize(1);
  for (int64_t i = 0; i < 6; ++i) {
    TokenStreams& sequence = batch.minibatches[0].emplace_back(Sequence(i, 2 + i));
    sequence.group = int64_t{1} << (10 * i);
    const size_t size = sequence.ids.size();
    sequence.streams["logprob"] = Stream(std::vector<float>(size, -0.1f * static_cast<float>(i)));
    sequence.streams["top_ids"] = Stream(std::vector<int64_t>(2 * size, (int64_t{1} << 40) - i), 2);
    sequence.streams["hidden"] = Stream(std::vector<float>(3 * size, 1e-30f * static_cast<float>(i)), 3);
  }
  const std::vector<TokenStreams> before = batch.minibatches[0];
  for (const StepBatch& part : ShareOut(std::move(batch), 3)) {
    for (const TokenStreams& sent : part.minibatches[0]) {
      v1::Sequence proto;
      ASSERT_TRUE(proto.ParseFromString(ToProto(sent).SerializeAsString()));
      const TokenStreams received = FromProto(proto);
      const TokenStreams& original = before[received.ids[0]];
      EXPECT_EQ(received.ids, original.ids);
      EXPECT_EQ(received.trainable_mask, original.trainable_mask);
      EXPECT_EQ(received.group, original.group);
      EXPECT_TRUE(received.streams == original.streams);
    }
  }
}

}  // namespace
}  // namespace grpo
