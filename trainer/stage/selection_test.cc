#include "trainer/stage/selection.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "trainer/stage/ngrams.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(NgramsTest, WordsAreTheSameWhateverStandsBetweenThem) {
  EXPECT_EQ(WordHashes("How many heads?"), WordHashes("how  MANY (heads)"));
  EXPECT_NE(WordHashes("a b"), WordHashes("b a"));
  EXPECT_THAT(WordHashes("?!"), IsEmpty());
  // A letter of two bytes belongs to its word.
  EXPECT_THAT(WordHashes("f\u00fcr x"), ::testing::SizeIs(2));
}

TEST(NgramsTest, EachNWordsInARowAreOne) {
  const std::vector<uint64_t> abcd = NgramHashes(WordHashes("a b c d"), 3);
  EXPECT_THAT(abcd, ::testing::SizeIs(2));
  EXPECT_EQ(abcd[1], NgramHashes(WordHashes("x b c d"), 3)[1]);
  EXPECT_NE(abcd[0], NgramHashes(WordHashes("b a c"), 3)[0]);
  // All that a short text has, told apart from the same words in a longer one.
  EXPECT_THAT(NgramHashes(WordHashes("a b"), 3), ::testing::SizeIs(1));
  EXPECT_THAT(NgramHashes({}, 3), IsEmpty());
}

TEST(TextFilterTest, SaysTheFirstReasonThatHolds) {
  SelectionOptions options;
  EXPECT_EQ(TextFilter(options).RejectionReason("", 0), "");
  options.min_tokens = 2;
  options.max_tokens = 10;
  options.language = "en";
  options.min_language_share = 0.75;
  options.max_repeated_frac = 0.5;
  options.repetition_ngram = 2;
  const TextFilter filter(options);
  EXPECT_EQ(filter.RejectionReason("so it is", 1), "too_short");
  EXPECT_EQ(filter.RejectionReason("so it is", 2), "");
  EXPECT_EQ(filter.RejectionReason("so it is", 10), "");
  EXPECT_EQ(filter.RejectionReason("so it is", 11), "too_long");
  EXPECT_EQ(filter.RejectionReason("so \u0441\u043b\u043e\u0432\u043e", 5), "other_language");
  EXPECT_EQ(filter.RejectionReason("on and on and on and on", 7), "repetitive");
}

TEST(SelectionOptionsTest, BoundsThatLeaveNothingAreAConflict) {
  SelectionOptions options;
  EXPECT_THAT(options.Conflicts(), IsEmpty());
  options.min_tokens = 9;
  options.max_tokens = 8;
  EXPECT_THAT(options.Conflicts(), ::testing::SizeIs(1));
}

TEST(ChooseTracesTest, KeepsAllThatThereIsRoomFor) {
  const std::vector<TraceCandidate> candidates = {{"a", 3}, {"b", 1}};
  EXPECT_THAT(ChooseTraces(candidates, 0, "shortest"), ElementsAre(0, 1));
  EXPECT_THAT(ChooseTraces(candidates, 2, "most_varied"), ElementsAre(0, 1));
  EXPECT_THAT(ChooseTraces({}, 2, "most_varied"), IsEmpty());
}

TEST(ChooseTracesTest, PrefersWhatItIsTold) {
  const std::vector<TraceCandidate> candidates = {{"count the heads and halve the legs", 6},
                                                  {"count the heads and halve the rest", 4},
                                                  {"first assume that all are chickens", 4},
                                                  {"count the heads and then all are chickens", 5}};
  EXPECT_THAT(ChooseTraces(candidates, 2, "first"), ElementsAre(0, 1));
  // The first of equals goes before.
  EXPECT_THAT(ChooseTraces(candidates, 1, "shortest"), ElementsAre(1));
  EXPECT_THAT(ChooseTraces(candidates, 3, "shortest"), ElementsAre(1, 2, 3));
  // Nothing in common with the first; then the one that has least in common with either.
  EXPECT_THAT(ChooseTraces(candidates, 2, "most_varied"), ElementsAre(0, 2));
  EXPECT_THAT(ChooseTraces(candidates, 3, "most_varied"), ElementsAre(0, 2, 3));
  // Texts without words are as like as can be.
  EXPECT_THAT(ChooseTraces({{"?", 1}, {"!", 1}, {"x", 1}}, 2, "most_varied"), ElementsAre(0, 2));
}

}  // namespace
}  // namespace grpo
