#include "trainer/stage/pseudo_labels.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;

TEST(PseudoLabelsTest, TheMajorityOfAllSamplesLabels) {
  const PseudoLabelOptions options = {.min_share = 0.5, .min_margin = 0.25};
  const PseudoLabel label = LabelByMajority({"0.5", "7", "", "1/2", "1/2", "8", "\\frac12", ""}, options);
  EXPECT_EQ(label.answer, "0.5");
  EXPECT_EQ(label.share, 0.5);
  EXPECT_EQ(label.margin, 0.375);
  EXPECT_TRUE(label.is_strong);
  EXPECT_THAT(label.is_majority, ElementsAre(true, false, false, true, true, false, true, false));
}

TEST(PseudoLabelsTest, AWeakMajorityIsSaidAndDoesNotLabel) {
  EXPECT_FALSE(LabelByMajority({"1", "1", "2", "3"}, {.min_share = 0.75}).is_strong);
  EXPECT_EQ(LabelByMajority({"1", "1", "2", "3"}, {.min_share = 0.75}).share, 0.5);
  EXPECT_TRUE(LabelByMajority({"1", "1", "2", "3"}, {.min_share = 0.5, .min_margin = 0.25}).is_strong);
  EXPECT_FALSE(LabelByMajority({"1", "1", "2", "2"}, {.min_share = 0.5, .min_margin = 0.25}).is_strong);
  EXPECT_FALSE(LabelByMajority({"1"}, {}).is_strong) << "nobody asked";
}

TEST(PseudoLabelsTest, NobodyAnswers) {
  const PseudoLabel label = LabelByMajority({"", ""}, {.min_share = 0.01});
  EXPECT_EQ(label.answer, "");
  EXPECT_FALSE(label.is_strong);
  EXPECT_THAT(label.is_majority, ElementsAre(false, false));
  EXPECT_FALSE(LabelByMajority({}, {.min_share = 0.01}).is_strong);
}

}  // namespace
}  // namespace grpo
