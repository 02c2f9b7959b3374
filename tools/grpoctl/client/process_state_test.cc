#include "tools/grpoctl/client/process_state.h"

#include <unistd.h>

#include "gmock/gmock.h"

namespace grpo {
namespace {

using ::testing::HasSubstr;
using ::testing::Optional;

TEST(ProcessStateTest, SaysWhatTheProcessDoesAndWhatToDo) {
  EXPECT_THAT(DescribeStat("77 (trainer) T 1 77", 77, "trainer"), Optional(HasSubstr("is stopped")));
  EXPECT_THAT(DescribeStat("77 (trainer) t 1 77", 77, "trainer"), Optional(HasSubstr("kill -CONT 77")));
  EXPECT_THAT(DescribeStat("77 (trainer) D 1 77", 77, "trainer"), Optional(HasSubstr("disk")));
  EXPECT_THAT(DescribeStat("77 (trainer) S 1 77", 77, "trainer"), Optional(HasSubstr("kill -QUIT 77")));
}

TEST(ProcessStateTest, AProcessThatHasEndedOrIsAnotherIsNone) {
  EXPECT_EQ(DescribeStat("77 (trainer) Z 1 77", 77, "trainer"), std::nullopt);
  EXPECT_EQ(DescribeStat("77 (bash) S 1 77", 77, "trainer"), std::nullopt);
  EXPECT_EQ(DescribeStat("", 77, ""), std::nullopt);
  EXPECT_EQ(DescribeProcess(0), std::nullopt);
  EXPECT_EQ(DescribeProcess(::getpid(), "trainer"), std::nullopt);
}

TEST(ProcessStateTest, NamesWithParenthesesAndBlanksAreRead) {
  EXPECT_THAT(DescribeStat("77 (trainer) T) S 1 77", 77, "trainer) T"), Optional(HasSubstr("lives")));
  EXPECT_THAT(DescribeProcess(::getpid()), Optional(HasSubstr("lives")));
}

}  // namespace
}  // namespace grpo
