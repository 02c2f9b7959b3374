#include "trainer/stage/decontaminate.h"

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace grpo {
namespace {

TEST(DecontaminateTest, WordsInARowGiveAProblemAway) {
  Decontamination evaluation(/*ngram=*/4, /*max_occurrences=*/10);
  evaluation.Add("A farmer counts 12 heads and 34 legs. How many rabbits?");
  EXPECT_TRUE(evaluation.IsContaminated("Once a FARMER counts: 12 eggs."));
  EXPECT_FALSE(evaluation.IsContaminated("A farmer counts 13 heads and 35 legs. How many hens?"));
  EXPECT_TRUE(evaluation.IsContaminated("<think>12 heads and 34 legs</think>"));
  EXPECT_FALSE(evaluation.IsContaminated("farmer counts 12"));
  EXPECT_FALSE(evaluation.IsContaminated(""));
}

TEST(DecontaminateTest, AShortProblemIsFoundWhenATextIsTheSame) {
  Decontamination evaluation(/*ngram=*/13, /*max_occurrences=*/10);
  evaluation.Add("What is 17 + 5?");
  EXPECT_TRUE(evaluation.IsContaminated("what is 17, 5"));
  EXPECT_FALSE(evaluation.IsContaminated("What is 17 + 5 + 1?"));
  EXPECT_FALSE(evaluation.IsContaminated("What is 17 + 6?"));
  // A problem without words keeps nothing out.
  evaluation.Add("?");
  EXPECT_FALSE(evaluation.IsContaminated("!"));
}

TEST(DecontaminateTest, ATemplateGivesNothingAway) {
  Decontamination evaluation(/*ngram=*/4, /*max_occurrences=*/10);
  for (int i = 0; i < 11; ++i)
    evaluation.Add(absl::StrCat("Solve this and box the answer. Name number ", i, " is alone here"));
  EXPECT_FALSE(evaluation.IsContaminated("Solve this and box the answer. What is 1 + 1?"));
  EXPECT_TRUE(evaluation.IsContaminated("Solve this and box the answer. number 7 is alone"));
  // A problem that says the same twice has said it once.
  Decontamination twice(/*ngram=*/2, /*max_occurrences=*/1);
  twice.Add("so it is, so it is");
  EXPECT_TRUE(twice.IsContaminated("but so it was"));
}

}  // namespace
}  // namespace grpo
