#include "tools/grpoctl/text.h"

#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace grpo {
namespace {

TEST(PrintableTest, EscapesWhatATerminalWouldObey) {
  EXPECT_EQ(Printable("a\nb\tc"), "a\\nb\\tc");
  EXPECT_EQ(Printable("\x1b[2J"), "\\x1b[2J");
  EXPECT_EQ(Printable("\x7f\r"), "\\x7f\\x0d");
  EXPECT_EQ(Printable(absl::string_view("\0", 1)), "\\x00");
  // U+009B is CSI in one code point; U+202E turns the reading direction.
  EXPECT_EQ(Printable("\xc2\x9b"), "\\xc2\\x9b");
  EXPECT_EQ(Printable("\xe2\x80\xae"), "\\xe2\\x80\\xae");
}

TEST(PrintableTest, KeepsOrdinaryText) {
  EXPECT_EQ(Printable("x = 1/2"), "x = 1/2");
  EXPECT_EQ(Printable("\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x94"), "\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x94");
}

TEST(PrintableTest, EscapesInvalidUtf8ByteByByte) {
  EXPECT_EQ(Printable("\xff"), "\\xff");
  EXPECT_EQ(Printable("\xe2\x82"), "\\xe2\\x82");
  // Overlong "/", a surrogate, a code point above U+10FFFF.
  EXPECT_EQ(Printable("\xc0\xaf"), "\\xc0\\xaf");
  EXPECT_EQ(Printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");
  EXPECT_EQ(Printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");
}

TEST(FormatTableTest, AlignsNumbersRightAndWordsLeft) {
  EXPECT_EQ(FormatTable({{"metric", "base"}, {"pass@1", "3.8 %"}, {"state", "x"}, {"n", "1234567"}}),
            "metric  base\n"
            "pass@1    3.8 %\n"
            "state   x\n"
            "n       1234567\n");
}

TEST(FormatTableTest, TakesShortRows) {
  EXPECT_EQ(FormatTable({{"a", "b", "c"}, {"1"}}), "a  b  c\n1\n");
}

TEST(FormatClockTest, ShowsHoursOnlyWhenThereAreAny) {
  EXPECT_EQ(FormatClock(0), "0:00");
  EXPECT_EQ(FormatClock(7.9), "0:07");
  EXPECT_EQ(FormatClock(754), "12:34");
  EXPECT_EQ(FormatClock(3723), "1:02:03");
  EXPECT_EQ(FormatClock(-3), "0:00");
  EXPECT_EQ(FormatClock(std::numeric_limits<double>::quiet_NaN()), "0:00");
}

TEST(FormatCountTest, SeparatesThousands) {
  EXPECT_EQ(FormatCount(0), "0");
  EXPECT_EQ(FormatCount(999), "999");
  EXPECT_EQ(FormatCount(1000), "1,000");
  EXPECT_EQ(FormatCount(-1234567), "-1,234,567");
  EXPECT_EQ(FormatCount(-123), "-123");
}

TEST(FormatBytesTest, TakesTheLargestUnit) {
  EXPECT_EQ(FormatBytes(1023), "1023 B");
  EXPECT_EQ(FormatBytes(1536), "1.5 KiB");
  EXPECT_EQ(FormatBytes(3.0 * (1 << 30)), "3.0 GiB");
}

TEST(FormatNumberTest, AvoidsExponents) {
  EXPECT_EQ(FormatNumber(0.93712), "0.9371");
  EXPECT_EQ(FormatNumber(30.4), "30.4");
  EXPECT_EQ(FormatNumber(12345.6), "12,346");
}

TEST(TruncatedTest, NeverCutsInsideACharacter) {
  EXPECT_EQ(Truncated("abc", 3), "abc");
  EXPECT_EQ(Truncated("abcd", 3), "abc");
  EXPECT_EQ(Truncated("ab\xe2\x82\xac", 4), "ab");
  EXPECT_EQ(Truncated("abc", -1), "");
}

}  // namespace
}  // namespace grpo
