#include "trainer/stage/rewrite.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace grpo {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(RewriteTest, TheProblemStandsInTheTemplateAsItIs) {
  EXPECT_EQ(RewritePrompt({.prompt_template = "Change the numbers: {problem}\n\n{problem}!"}, "1 {problem} 2?"),
            "Change the numbers: 1 {problem} 2?\n\n1 {problem} 2?!");
}

TEST(RewriteTest, TheNewProblemIsTheAnswer) {
  EXPECT_EQ(RewrittenProblem(" How many?\n"), "How many?");
  EXPECT_EQ(RewrittenProblem("<think>I change <answer>it</answer>.</think>\nHow many?"), "How many?");
  EXPECT_EQ(RewrittenProblem("<think>so</think> Here: <answer>no</answer> <answer> How many? </answer> Good?"),
            "How many?");
  EXPECT_EQ(RewrittenProblem("<answer>How many?</answer></answer>"), "How many?");
  EXPECT_EQ(RewrittenProblem("half a tag </answer>"), "half a tag </answer>");
  EXPECT_EQ(RewrittenProblem("<think>I never"), "");
  EXPECT_EQ(RewrittenProblem("<think></think>"), "");
  EXPECT_EQ(RewrittenProblem("<answer></answer>"), "");
}

TEST(RewriteTest, ATemplateWithoutTheProblemIsAConflict) {
  EXPECT_THAT(RewriteOptions().Conflicts(), IsEmpty());
  EXPECT_THAT(RewriteOptions{.prompt_template = "Change {problem}"}.Conflicts(), IsEmpty());
  EXPECT_THAT(RewriteOptions{.prompt_template = "Change it"}.Conflicts(), SizeIs(1));
}

}  // namespace
}  // namespace grpo
