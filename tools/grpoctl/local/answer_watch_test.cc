#include "tools/grpoctl/local/answer_watch.h"

#include <unistd.h>

#include "gmock/gmock.h"

namespace grpo {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Optional;

TEST(AnswerWatchTest, ASilenceIsToldOnceAndItsEndToo) {
  AnswerWatch watch;
  const int pid = ::getpid();
  EXPECT_EQ(watch.Look(absl::Seconds(1), false, std::nullopt), std::nullopt);
  EXPECT_EQ(watch.Look(absl::Seconds(50), false, pid), std::nullopt) << "it serves only now";
  EXPECT_EQ(watch.Look(absl::Seconds(55), true, pid), std::nullopt);
  EXPECT_EQ(watch.Look(absl::Seconds(64), false, pid), std::nullopt);
  EXPECT_THAT(watch.Look(absl::Seconds(65), false, pid),
              Optional(AllOf(HasSubstr("not answered for 10 s"), HasSubstr(std::to_string(pid)), HasSubstr("lives"))));
  EXPECT_EQ(watch.Look(absl::Seconds(66), false, pid), std::nullopt);
  EXPECT_THAT(watch.Look(absl::Seconds(81), true, pid), Optional(HasSubstr("again, after 26 s")));
  EXPECT_EQ(watch.Look(absl::Seconds(82), true, pid), std::nullopt);
}

TEST(AnswerWatchTest, ATrainerThatIsRestartedOrHasEndedIsNotCalledSilent) {
  AnswerWatch watch;
  EXPECT_EQ(watch.Look(absl::Seconds(1), true, 7), std::nullopt);
  EXPECT_EQ(watch.Look(absl::Seconds(20), false, std::nullopt), std::nullopt);
  EXPECT_EQ(watch.Look(absl::Seconds(40), false, std::nullopt), std::nullopt);
  EXPECT_EQ(watch.Look(absl::Seconds(60), false, 8), std::nullopt);
  EXPECT_EQ(watch.Look(absl::Seconds(69), false, 8), std::nullopt);
  EXPECT_NE(watch.Look(absl::Seconds(70), false, 8), std::nullopt);
}

}  // namespace
}  // namespace grpo
