#include "common/printable.h"

#include "common/status_testing.h"

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

}  // namespace
}  // namespace grpo
