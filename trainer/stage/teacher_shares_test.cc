#include "trainer/stage/teacher_shares.h"

#include <numeric>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const std::vector<TeacherShare>& Teachers() {
  static const auto* const teachers = new std::vector<TeacherShare>{{"big", 3}, {"small", 1}, {"other", 4}};
  return *teachers;
}

TEST(TeacherSharesTest, EachTeacherGetsItsShareOfTheProblems) {
  std::vector<int> counts(3, 0);
  int num_other_seed = 0;
  for (int64_t i = 0; i < 8000; ++i) {
    ++counts[TeacherOf(Teachers(), 5, i)];
    num_other_seed += TeacherOf(Teachers(), 5, i) != TeacherOf(Teachers(), 6, i);
  }
  // Six standard deviations.
  EXPECT_NEAR(counts[0], 3000, 260);
  EXPECT_NEAR(counts[1], 1000, 178);
  EXPECT_NEAR(counts[2], 4000, 269);
  EXPECT_GT(num_other_seed, 2000);
}

TEST(TeacherSharesTest, AProblemsTeacherDoesNotDependOnTheOtherProblems) {
  std::vector<int64_t> all(100);
  std::iota(all.begin(), all.end(), int64_t{0});
  const std::vector<int64_t> some(all.begin() + 20, all.begin() + 60);
  const TeacherGroups groups = GroupByTeacher(Teachers(), 5, some);
  ASSERT_THAT(groups.problems, SizeIs(40));
  ASSERT_THAT(groups.first, SizeIs(4));
  EXPECT_EQ(groups.first[0], 0);
  EXPECT_EQ(groups.first[3], 40);
  for (size_t teacher = 0; teacher < 3; ++teacher) {
    for (int64_t i = groups.first[teacher]; i < groups.first[teacher + 1]; ++i) {
      const int64_t problem = groups.problems[static_cast<size_t>(i)];
      EXPECT_EQ(TeacherOf(Teachers(), 5, problem), teacher);
      if (i > groups.first[teacher]) {
        EXPECT_GT(problem, groups.problems[static_cast<size_t>(i) - 1]);
      }
    }
  }
}

TEST(TeacherSharesTest, OneTeacherTakesAllInTheirOrder) {
  const TeacherGroups groups = GroupByTeacher({{"big", 0.5}}, 5, {2, 3, 7});
  EXPECT_THAT(groups.problems, ElementsAre(2, 3, 7));
  EXPECT_THAT(groups.first, ElementsAre(0, 3));
}

TEST(TeacherSharesTest, ATeacherStandsThereOnce) {
  EXPECT_THAT(Conflicts(Teachers()), IsEmpty());
  EXPECT_THAT(Conflicts({{"big", 1}, {"big", 2}}), SizeIs(1));
}

}  // namespace
}  // namespace grpo
