#include "tools/grpoctl/records/log_tail.h"

#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace grpo {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::string Written(const std::string& text) {
  const std::string path = ::testing::TempDir() + "/tail.log";
  std::ofstream(path) << text;
  return path;
}

TEST(LastLines, EndTheFileWithOrWithoutItsLastNewline) {
  EXPECT_THAT(LastLines(Written("a\nb\nc\n"), 2), ElementsAre("b", "c"));
  EXPECT_THAT(LastLines(Written("a\nb\nc"), 2), ElementsAre("b", "c"));
}

TEST(LastLines, AreAllOfAShortFileEmptyOnesToo) {
  EXPECT_THAT(LastLines(Written("a\n\nc\n"), 9), ElementsAre("a", "", "c"));
}

TEST(LastLines, AreNoneOfAnEmptyOrMissingFile) {
  EXPECT_THAT(LastLines(Written(""), 3), IsEmpty());
  EXPECT_THAT(LastLines("/nowhere", 3), IsEmpty());
}

TEST(LastLines, ReadNoMoreThanTheEndOfALargeFile) {
  const auto lines = LastLines(Written(std::string(1 << 20, 'x') + "\nlast\n"), 9);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_LT(lines[0].size(), size_t{64 << 10});
  EXPECT_EQ(lines[1], "last");
}

}  // namespace
}  // namespace grpo
