#include "reward/repetition.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "reward/language.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;

TEST(RepetitionTest, WordsAreEqualWhateverTheirCaseAndBlanks) {
  EXPECT_THAT(WordIds("So  it\nis SO"), ElementsAre(0, 1, 2, 0));
  EXPECT_THAT(WordIds(" "), ElementsAre());
}

TEST(RepetitionTest, CountsTheNGramsThatStoodThereBefore) {
  // ab ba ab ba: two of four.
  EXPECT_EQ(RepeatedFrac(WordIds("a b a b a"), 2), 0.5);
  EXPECT_EQ(RepeatedFrac(WordIds("a b c d"), 2), 0);
  EXPECT_EQ(RepeatedFrac(WordIds("a a"), 3), 0);
  EXPECT_EQ(RepeatedFrac({7, 7, 7, 7}, 1), 0.75);
}

TEST(LanguageTest, CountsWordsByTheirScript) {
  const LanguageMeter english("en"), russian("ru");
  EXPECT_EQ(english.Share("three words here"), 1);
  EXPECT_EQ(english.Share("half \u0441\u043b\u043e\u0432\u043e"), 0.5);
  EXPECT_EQ(russian.Share("half \u0441\u043b\u043e\u0432\u043e"), 0.5);
  // Variables, numbers and tags are no words.
  EXPECT_EQ(english.Share("<think>x = 12</think>"), 0);
  EXPECT_EQ(Languages().front(), std::string("en"));
}

}  // namespace
}  // namespace grpo
