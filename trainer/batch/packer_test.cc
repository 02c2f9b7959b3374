#include "trainer/batch/packer.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>

#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;

TokenStreams Sequence(std::vector<int64_t> ids, std::vector<bool> mask, std::vector<float> weights) {
  return {.ids = std::move(ids), .trainable_mask = std::move(mask), .streams = {{"w", std::move(weights)}}};
}

std::vector<int64_t> Values(const at::Tensor& tensor) {
  return {tensor.const_data_ptr<int64_t>(), tensor.const_data_ptr<int64_t>() + tensor.numel()};
}

TEST(PackTest, PositionTPredictsTokenTPlusOne) {
  ASSERT_OK_AND_ASSIGN(const auto batches, Pack({Sequence({10, 11, 12}, {false, false, true}, {0, 0, 5}),
                                                 Sequence({20, 21, 22, 23}, {false, true, false, true}, {0, 6, 0, 7})},
                                                100));
  ASSERT_EQ(batches.size(), 1);
  EXPECT_THAT(Values(batches[0].ids), ElementsAre(10, 11, 20, 21, 22));
  EXPECT_THAT(Values(batches[0].positions), ElementsAre(0, 1, 0, 1, 2));
  EXPECT_THAT(batches[0].layout.lengths, ElementsAre(2, 3));
  EXPECT_THAT(Values(batches[0].predictor_rows), ElementsAre(1, 2, 4));
  EXPECT_THAT(Values(batches[0].target_ids), ElementsAre(12, 21, 23));
  EXPECT_TRUE(at::equal(batches[0].streams.at("w"), at::tensor({5.0f, 6.0f, 7.0f})));
}

TEST(PackTest, BoundsTokensAndGivesALongSequenceABatchOfItsOwn) {
  const auto sequence = [](int64_t size) {
    std::vector<bool> mask(size, true);
    mask[0] = false;
    return Sequence(std::vector<int64_t>(size, 1), mask, std::vector<float>(size, 1));
  };
  std::vector<TokenStreams> sequences = {sequence(5), sequence(5), sequence(20), sequence(3)};
  for (size_t i = 0; i < sequences.size(); ++i) sequences[i].group = static_cast<int64_t>(i);
  ASSERT_OK_AND_ASSIGN(const auto batches, Pack(sequences, 8));
  ASSERT_EQ(batches.size(), 3);
  EXPECT_THAT(batches[0].layout.lengths, ElementsAre(4, 4));
  EXPECT_THAT(batches[1].layout.lengths, ElementsAre(19));
  EXPECT_THAT(batches[2].layout.lengths, ElementsAre(2));
}

TEST(PackTest, AWideStreamKeepsItsRowsAndItsType) {
  TokenStreams first = Sequence({1, 2, 3}, {false, false, true}, {0, 0, 5}), second = first;
  first.streams["top_ids"] = Stream(std::vector<int64_t>{0, 0, 0, 0, int64_t{1} << 40, -2}, 2);
  first.streams["hidden"] = Stream(std::vector<float>{0, 0, 0, 0, 0, 0, 1.5f, 2.5f, 3.5f}, 3);
  second.streams["top_ids"] = Stream(std::vector<int64_t>{0, 0, 0, 0, 3, 4}, 2);
  second.streams["hidden"] = Stream(std::vector<float>{0, 0, 0, 0, 0, 0, 4, 5, 6}, 3);
  ASSERT_OK_AND_ASSIGN(const auto batches, Pack({first, second}, 100));
  ASSERT_EQ(batches.size(), 1);
  const at::Tensor top_ids = batches[0].streams.at("top_ids"), hidden = batches[0].streams.at("hidden");
  EXPECT_EQ(top_ids.sizes(), at::IntArrayRef({2, 2}));
  EXPECT_THAT(Values(top_ids), ElementsAre(int64_t{1} << 40, -2, 3, 4));
  EXPECT_EQ(hidden.sizes(), at::IntArrayRef({2, 3}));
  EXPECT_TRUE(at::equal(hidden.flatten(), at::tensor({1.5f, 2.5f, 3.5f, 4.0f, 5.0f, 6.0f})));
}

// Sequences are counted in their micro-batch, groups keep their number.
TEST(PackTest, ATargetKnowsItsSequenceAndItsGroup) {
  std::vector<TokenStreams> sequences = {
      Sequence({1, 2, 3}, {false, true, true}, {0, 1, 1}), Sequence({4, 5}, {false, false}, {0, 0}),
      Sequence({6, 7, 8}, {false, false, true}, {0, 0, 1}), Sequence({9, 10}, {false, true}, {0, 1})};
  for (size_t i = 0; i < sequences.size(); ++i) sequences[i].group = static_cast<int64_t>(10 + i / 3);
  ASSERT_OK_AND_ASSIGN(const auto batches, Pack(sequences, 4));
  ASSERT_EQ(batches.size(), 2);
  EXPECT_THAT(Values(batches[0].sequence_of_target), ElementsAre(0, 0, 1));
  EXPECT_THAT(Values(batches[0].group_of_target), ElementsAre(10, 10, 10));
  EXPECT_THAT(Values(batches[1].sequence_of_target), ElementsAre(0));
  EXPECT_THAT(Values(batches[1].group_of_target), ElementsAre(11));
}

// Three completions of one prompt, one of them a single token, and one whose group has another number.
std::vector<TokenStreams> Group() {
  std::vector<TokenStreams> sequences = {
      Sequence({1, 2, 3, 4, 5}, {false, false, false, true, true}, {0, 0, 0, 1, 2}),
      Sequence({1, 2, 3, 6}, {false, false, false, true}, {0, 0, 0, 3}),
      Sequence({1, 2, 3, 4, 7, 8}, {false, false, false, true, false, true}, {0, 0, 0, 4, 0, 5}),
      Sequence({1, 2, 3, 9}, {false, false, false, true}, {0, 0, 0, 6})};
  sequences[3].group = 1;
  return sequences;
}

TEST(PackTest, AGroupsPromptIsThereOnce) {
  ASSERT_OK_AND_ASSIGN(const auto batches, Pack(Group(), 100));
  ASSERT_EQ(batches.size(), 1);
  EXPECT_THAT(Values(batches[0].ids), ElementsAre(1, 2, 3, 4, 4, 7, 1, 2, 3));
  EXPECT_THAT(Values(batches[0].positions), ElementsAre(0, 1, 2, 3, 3, 4, 0, 1, 2));
  EXPECT_THAT(batches[0].layout.lengths, ElementsAre(3, 1, 0, 2, 3));
  EXPECT_THAT(batches[0].layout.prefixes, ElementsAre(-1, 0, 0, 0, -1));
  EXPECT_THAT(Values(batches[0].predictor_rows), ElementsAre(2, 3, 2, 2, 5, 8));
  EXPECT_THAT(Values(batches[0].target_ids), ElementsAre(4, 5, 6, 4, 8, 9));
  EXPECT_THAT(Values(batches[0].sequence_of_target), ElementsAre(0, 0, 1, 2, 2, 3));
  EXPECT_THAT(Values(batches[0].group_of_target), ElementsAre(0, 0, 0, 0, 0, 1));
  EXPECT_TRUE(at::equal(batches[0].streams.at("w"), at::tensor({1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 6.0f})));
}

TEST(PackTest, AGroupThatFitsStaysWholeAndALargerOneRepeatsItsPrompt) {
  std::vector<TokenStreams> sequences = Group();
  sequences.insert(sequences.begin(), sequences.back());
  ASSERT_OK_AND_ASSIGN(const auto whole, Pack(sequences, 6));
  ASSERT_EQ(whole.size(), 3);
  EXPECT_THAT(whole[0].layout.lengths, ElementsAre(3));
  EXPECT_THAT(whole[1].layout.lengths, ElementsAre(3, 1, 0, 2));
  EXPECT_THAT(whole[2].layout.lengths, ElementsAre(3));
  ASSERT_OK_AND_ASSIGN(const auto cut, Pack(Group(), 5));
  ASSERT_EQ(cut.size(), 3);
  EXPECT_THAT(cut[0].layout.lengths, ElementsAre(3, 1, 0));
  EXPECT_THAT(cut[1].layout.lengths, ElementsAre(3, 2));
  EXPECT_THAT(Values(cut[1].predictor_rows), ElementsAre(2, 4));
  EXPECT_THAT(cut[2].layout.lengths, ElementsAre(3));
}

TEST(PackTest, SequencesOfAGroupThatBeginDifferentlyShareNothing) {
  std::vector<TokenStreams> sequences = {Sequence({1, 2, 3}, {false, false, true}, {0, 0, 1}),
                                         Sequence({4, 2, 3}, {false, false, true}, {0, 0, 1})};
  ASSERT_OK_AND_ASSIGN(const auto batches, Pack(sequences, 100));
  EXPECT_THAT(batches[0].layout.lengths, ElementsAre(2, 2));
  EXPECT_THAT(batches[0].layout.prefixes, ElementsAre(-1, -1));
}

TEST(PackTest, LeavesOutSequencesWithoutATarget) {
  ASSERT_OK_AND_ASSIGN(const auto batches, Pack({Sequence({1, 2}, {false, false}, {0, 0})}, 8));
  EXPECT_TRUE(batches.empty());
}

TEST(PackTest, RefusesSequencesThatDoNotAgree) {
  EXPECT_STATUS(Pack({Sequence({1, 2}, {true, true}, {0, 0})}, 8), absl::StatusCode::kInvalidArgument,
                "trainable_mask");
  EXPECT_STATUS(Pack({Sequence({1, 2}, {false, true}, {0})}, 8), absl::StatusCode::kInvalidArgument,
                "stream w has 1 entries for 2 ids");
  TokenStreams plain = Sequence({1, 2}, {false, true}, {0, 0}), wide = plain, whole = plain;
  wide.streams["w"] = Stream(std::vector<float>(4), 2);
  whole.streams["w"] = Stream(std::vector<int64_t>(2));
  EXPECT_STATUS(Pack({plain, wide}, 8), absl::StatusCode::kInvalidArgument, "stream w has width 2 and 1");
  EXPECT_STATUS(Pack({plain, whole}, 8), absl::StatusCode::kInvalidArgument, "two types");
}

}  // namespace
}  // namespace grpo
