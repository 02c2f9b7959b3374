#include "trainer/stage/problem_sums.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

TEST(ProblemSumsTest, MeansAreOverWhatWasMeasured) {
  ProblemSums sums;
  std::map<std::string, double> metrics;
  sums.AddMetrics(&metrics);
  EXPECT_THAT(metrics, IsEmpty());
  for (const char* problem :
       {"null", R"({"solve_rate": 0.25})", R"({"solve_rate": 1.0, "dropped": "difficulty"})",
        R"({"majority_share": 1.0, "majority_margin": 0.75})",
        R"({"majority_share": 0.5, "majority_margin": 0.25, "dropped": "no_majority"})",
        R"({"majority_share": 0.75, "majority_margin": 0.5, "dropped": "difficulty"})", R"({"num_kept": 1})"})
    sums.Count(nlohmann::ordered_json::parse(problem));
  sums.AddMetrics(&metrics);
  EXPECT_THAT(metrics, ElementsAre(Pair("num_pseudo_labels", 2), Pair("pseudo_label_margin_mean", 0.625),
                                   Pair("solve_rate_mean", 0.625)));
}

}  // namespace
}  // namespace grpo
