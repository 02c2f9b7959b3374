#include "reward/vote.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;

TEST(VoteTest, EqualAnswersVoteTogetherHoweverTheyAreWritten) {
  const Vote vote = CountVotes({"7", "1/2", "", "0.5", "\\frac{1}{2}", "7", "1/2"});
  EXPECT_THAT(vote.party, ElementsAre(0, 1, -1, 1, 1, 0, 1));
  EXPECT_EQ(vote.winner, 1);
  EXPECT_EQ(vote.num_votes, 4);
  EXPECT_EQ(vote.num_runner_up, 2);
  EXPECT_TRUE(vote.IsWinner(3));
  EXPECT_FALSE(vote.IsWinner(0));
  EXPECT_FALSE(vote.IsWinner(2));
}

TEST(VoteTest, OfEquallyLargePartiesTheFirstSampledWins) {
  const Vote vote = CountVotes({"3", "4", "4", "3"});
  EXPECT_EQ(vote.winner, 0);
  EXPECT_EQ(vote.num_votes, 2);
  EXPECT_EQ(vote.num_runner_up, 2);
}

TEST(VoteTest, NobodyWinsWhereNobodyVotes) {
  EXPECT_EQ(CountVotes({}).winner, -1);
  const Vote vote = CountVotes({"", ""});
  EXPECT_EQ(vote.winner, -1);
  EXPECT_EQ(vote.num_votes, 0);
  EXPECT_FALSE(vote.IsWinner(0));
}

TEST(VoteTest, BeyondTheLimitOnlyEqualTextsVoteTogether) {
  std::vector<std::string> answers;
  for (int i = 0; i < 70; ++i) answers.push_back(std::to_string(1000 + i));
  answers.push_back("1069");
  // Equal to an answer within the limit, and to one beyond it.
  answers.push_back("1000.0");
  answers.push_back("1068.0");
  const Vote vote = CountVotes(answers);
  EXPECT_EQ(vote.party[70], 69);
  EXPECT_EQ(vote.party[71], 0);
  EXPECT_EQ(vote.party[72], 72);
  EXPECT_EQ(vote.winner, 0);
}

}  // namespace
}  // namespace grpo
