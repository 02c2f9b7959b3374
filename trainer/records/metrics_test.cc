#include "trainer/records/metrics.h"

#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace grpo {
namespace {

TEST(MetricsTest, EveryNameIsDeclaredOnceAndSaysWhatItMeans) {
  std::set<std::string> names;
  for (const MetricInfo& info : ListMetrics()) {
    EXPECT_TRUE(names.insert(info.name).second) << info.name << " stands twice";
    EXPECT_GT(info.help.size(), 10u) << info.name;
    EXPECT_EQ(info.help.back(), '.') << info.name;
    EXPECT_EQ(FindMetric(info.name), &info);
  }
}

TEST(MetricsTest, AFamilyHasOneMetricForEachPart) {
  const std::string name = metric::RuleMean("format_tags");
  EXPECT_EQ(name, "rewards/format_tags/mean");
  const MetricInfo* info = FindMetric(name);
  ASSERT_NE(info, nullptr);
  EXPECT_EQ(info->name, "rewards/<rule>/mean");
  EXPECT_EQ(FamilyPart(*info, name), "format_tags");
  EXPECT_EQ(FindMetric(metric::PassAt(8))->name, "pass_at_<k>");
}

TEST(MetricsTest, ASingleMetricGoesBeforeTheFamilyThatItsNameWouldFit) {
  EXPECT_EQ(FindMetric("pass_at_1_ci_low")->name, "pass_at_1_ci_low");
}

TEST(MetricsTest, AnUndeclaredNameIsFound) {
  EXPECT_EQ(FindMetric("gradient_norm"), nullptr);
  EXPECT_EQ(FindMetric("rewards//mean"), nullptr) << "a family's part is not empty";
  EXPECT_EQ(FindMetric(""), nullptr);
}

TEST(MetricsTest, TheReferenceHasARowForEach) {
  const std::string reference = MetricsReference();
  for (const MetricInfo& info : ListMetrics()) {
    EXPECT_THAT(reference, testing::HasSubstr("| `" + info.name + "` |"));
  }
}

}  // namespace
}  // namespace grpo
