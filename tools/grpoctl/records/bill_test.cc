#include "tools/grpoctl/records/bill.h"

#include <utility>

#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

StageReport Train(const std::string& name, const std::string& policy, double seconds,
                  const std::string& weights_from = "", std::vector<std::string> learned_from = {}) {
  return {.name = name,
          .type = "train",
          .seconds = seconds,
          .tokens = 10 * seconds,
          .weights_from = weights_from,
          .learned_from = std::move(learned_from),
          .policy = policy};
}

StageReport Write(const std::string& name, const std::string& policy, double seconds, const std::string& weights_from,
                  std::vector<std::string> learned_from = {}) {
  StageReport report = Train(name, policy, seconds, weights_from, std::move(learned_from));
  report.type = "synthesize";
  report.artifact = name;
  report.usd = 1;
  return report;
}

StageReport Measure(const std::string& name, const std::string& policy, const std::string& weights_from,
                    double pass_at_1 = 0.5, double num_parameters = 100) {
  StageReport report{.name = name, .type = "evaluate", .seconds = 1000, .weights_from = weights_from, .policy = policy};
  report.metrics = {{"pass_at_1", pass_at_1}, {"num_parameters", num_parameters}};
  return report;
}

TEST(CostOfTest, AddsUpTheLineageAndWhatItsTeacherWrote) {
  const std::vector<StageReport> stages = {Train("pretrain", "base", 1),
                                           Train("rl", "teacher", 2, "pretrain"),
                                           Train("pretrain_student", "student", 4),
                                           Write("rewrite", "teacher", 8, "rl"),
                                           Write("write", "teacher", 16, "rl", {"rewrite"}),
                                           Train("copy", "student", 32, "pretrain_student", {"write"}),
                                           Train("other", "other", 64, "pretrain"),
                                           Measure("measure", "student", "copy")};
  const MakingCost cost = CostOf(stages.back(), stages);
  EXPECT_EQ(cost.seconds, 4 + 8 + 16 + 32);
  EXPECT_EQ(cost.tokens, 10 * cost.seconds);
  EXPECT_EQ(cost.usd, 2);
  EXPECT_EQ(cost.seconds_with_teachers, cost.seconds + 1 + 2);
}

TEST(CostOfTest, EachStateOfAPolicyHasCostWhatLedToIt) {
  const std::vector<StageReport> stages = {Train("a", "model", 1), Measure("before", "model", "a"),
                                           Train("b", "model", 2, "a"), Measure("after", "model", "b")};
  EXPECT_EQ(CostOf(stages[1], stages).seconds, 1);
  EXPECT_EQ(CostOf(stages[3], stages).seconds, 3);
}

TEST(CostOfTest, NobodyPaidForWhatWasThereBefore) {
  const std::vector<StageReport> stages = {Measure("measure", "folder", ""), Measure("lost", "folder", "gone")};
  EXPECT_EQ(CostOf(stages[0], stages).seconds, 0);
  EXPECT_EQ(CostOf(stages[1], stages).seconds, 0);
}

// Stages of a broken summary may build on each other.
TEST(CostOfTest, ACircleIsCountedOnce) {
  const std::vector<StageReport> stages = {Train("a", "model", 1, "b", {"a"}), Train("b", "model", 2, "a", {"b"}),
                                           Measure("measure", "model", "b")};
  EXPECT_EQ(CostOf(stages[2], stages).seconds, 3);
}

TEST(TeacherSentencesTest, ATeacherIsWhoWroteOrWhoWasAsked) {
  StageReport soften = Train("soften", "student", 1, "copy");
  soften.teachers = {"large"};
  std::vector<StageReport> stages = {Train("rl", "teacher", 2),
                                     Measure("measure_teacher", "teacher", "rl", 0.8, 300),
                                     Measure("measure_large", "large", "", 0.9, 1000),
                                     Write("write", "teacher", 16, "rl"),
                                     Train("copy", "student", 32, "", {"write"}),
                                     soften,
                                     Measure("early", "student", "copy", 0.1),
                                     Measure("measure", "student", "soften", 0.72)};
  EXPECT_THAT(TeacherSentences(stages),
              ElementsAre("student to its teacher teacher: 1/3 of the parameters, 90.0 % of pass@1.",
                          "student to its teacher large: 1/10 of the parameters, 80.0 % of pass@1."))
      << "one sentence each, of the student as it was measured last";
  // On other problems it would be no share.
  stages[2].conditions = "other problems";
  EXPECT_THAT(TeacherSentences(stages)[1], "student to its teacher large: 1/10 of the parameters.");
}

TEST(TeacherSentencesTest, WhoLearnedFromItselfHasNoTeacher) {
  EXPECT_THAT(TeacherSentences({Train("rl", "model", 2), Write("write", "model", 16, "rl"),
                                Train("again", "model", 32, "rl", {"write"}), Measure("measure", "model", "again")}),
              IsEmpty());
}

TEST(TeacherSentencesTest, RatiosAreOfTwoDigits) {
  const auto sentence = [](double student, double teacher) {
    return TeacherSentences({Measure("t", "teacher", "", 0, teacher), Write("write", "teacher", 1, ""),
                             Train("copy", "student", 1, "", {"write"}), Measure("s", "student", "copy", 0, student)})
        .at(0);
  };
  EXPECT_EQ(sentence(28832, 164480), "student to its teacher teacher: 1/5.7 of the parameters.");
  EXPECT_EQ(sentence(100, 100), "student to its teacher teacher: the same parameters.");
  EXPECT_EQ(sentence(101, 100), "student to its teacher teacher: about the same parameters.");
  EXPECT_EQ(sentence(12834, 100), "student to its teacher teacher: 130 times the parameters.");
}

TEST(RepeatedWorkTest, IsSaidOfStagesThatWereStartedAgain) {
  StageReport killed = Train("copy", "student", 3);
  killed.starts = 3;
  StageReport once = Train("rl", "teacher", 3);
  once.starts = 1;
  EXPECT_THAT(RepeatedWork({killed, once, StageReport()}),
              ElementsAre("Stage copy was worked on in 3 starts of the run: its seconds and tokens are those of all of "
                          "them, with what was done again."));
}

}  // namespace
}  // namespace grpo
