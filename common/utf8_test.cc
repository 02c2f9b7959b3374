#include "common/utf8.h"

#include <string>
#include <utility>
#include <vector>

#include "common/status_testing.h"

namespace grpo {
namespace {

// What no text of Unicode holds: lone and cut bytes, overlong forms, surrogates, beyond the last code point.
const std::vector<std::string>& NoCharacters() {
  static const auto* const kBytes = new std::vector<std::string>{"\x80",
                                                                 "\xbf",
                                                                 "\xc0\x80",
                                                                 "\xc1\xbf",
                                                                 "\xe0\x80\x80",
                                                                 "\xe0\x9f\xbf",
                                                                 "\xf0\x80\x80\x80",
                                                                 "\xed\xa0\x80",
                                                                 "\xed\xbf\xbf",
                                                                 "\xf4\x90\x80\x80",
                                                                 "\xf5\x80\x80\x80",
                                                                 "\xff",
                                                                 "\xfe",
                                                                 "\xc3",
                                                                 "\xe2\x82",
                                                                 "\xf0\x9f\x98",
                                                                 "\xc3(",
                                                                 "\xe2(\x82"};
  return *kBytes;
}

TEST(Utf8Test, TheFirstCharacterHasItsCodePointAndLength) {
  const std::pair<std::string, std::pair<uint32_t, size_t>> cases[] = {
      {"a", {'a', 1}},
      {std::string("\0x", 2), {0, 1}},
      {"\xc2\x80", {0x80, 2}},
      {"\xc3\xa4x", {0xe4, 2}},
      {"\xe2\x82\xac", {0x20ac, 3}},
      {"\xef\xbf\xbf", {0xffff, 3}},
      {"\xf0\x9f\x98\x80 more", {0x1f600, 4}},
      {"\xf4\x8f\xbf\xbf", {0x10ffff, 4}},
  };
  for (const auto& [text, expected] : cases) {
    const Utf8Character character = FirstCharacter(text);
    EXPECT_EQ(character.code_point, expected.first) << text;
    EXPECT_EQ(character.num_bytes, expected.second) << text;
  }
}

TEST(Utf8Test, WhereNoCharacterBeginsThereIsNone) {
  EXPECT_EQ(FirstCharacter("").num_bytes, 0u);
  for (const std::string& bytes : NoCharacters()) EXPECT_EQ(FirstCharacter(bytes).num_bytes, 0u) << bytes;
}

// The zero bytes behind a view are not its own.
TEST(Utf8Test, NothingBehindTheViewIsRead) {
  const std::string text = "\xe2\x82\xac";
  for (size_t size = 1; size < text.size(); ++size)
    EXPECT_EQ(FirstCharacter(absl::string_view(text).substr(0, size)).num_bytes, 0u) << size;
}

// Blocks of eight bytes are skipped at a time: what is wrong may stand at any place of one.
TEST(Utf8Test, ATextIsValidUpToItsFirstBadByteWhereverThatIs) {
  for (const std::string& bytes : NoCharacters()) {
    for (size_t before = 0; before < 20; ++before) {
      const std::string text = std::string(before, 'a') + bytes + "abcdefghijkl";
      EXPECT_EQ(ValidPrefixBytes(text), before) << bytes;
      EXPECT_FALSE(IsUtf8(text));
      EXPECT_FALSE(IsAscii(text));
    }
  }
  for (size_t before = 0; before < 20; ++before) {
    const std::string text = std::string(before, 'a') + "\xe2\x82\xac" + std::string(before, 'b') + "\xc3\xa4";
    EXPECT_EQ(ValidPrefixBytes(text), text.size());
    EXPECT_TRUE(IsUtf8(text));
    EXPECT_FALSE(IsAscii(text));
    EXPECT_TRUE(IsAscii(std::string(before, '\x7f')));
  }
  EXPECT_TRUE(IsUtf8(""));
  EXPECT_TRUE(IsAscii(std::string(9, '\0')));
}

TEST(Utf8Test, TheLastCharacterBeginsAtItsFirstByte) {
  EXPECT_EQ(LastCharacterStart("a"), 0u);
  EXPECT_EQ(LastCharacterStart("ab"), 1u);
  EXPECT_EQ(LastCharacterStart("a\xe2\x82\xac"), 1u);
  EXPECT_EQ(LastCharacterStart("\xf0\x9f\x98\x80"), 0u);
}

TEST(Utf8Test, EveryCharacterThatIsWrittenIsRead) {
  for (uint32_t code_point = 0; code_point <= 0x10ffff; code_point += code_point < 0x900 ? 1 : 97) {
    if (code_point >= 0xd800 && code_point <= 0xdfff) continue;
    std::string text = "x";
    AppendCharacter(code_point, &text);
    const Utf8Character character = FirstCharacter(absl::string_view(text).substr(1));
    ASSERT_EQ(character.code_point, code_point);
    ASSERT_EQ(character.num_bytes + 1, text.size());
    ASSERT_EQ(LastCharacterStart(text), 1u);
  }
}

TEST(Utf8Test, TextsOfOthersBecomeUtf8OfAtMostSoManyBytes) {
  EXPECT_EQ(AsUtf8("", 10), "");
  EXPECT_EQ(AsUtf8("abc", 3), "abc");
  EXPECT_EQ(AsUtf8("abc", 2), "ab");
  EXPECT_EQ(AsUtf8("a\xc3\xa4", 2), "a") << "never inside a character";
  EXPECT_EQ(AsUtf8("a\xff\xfe!", 20), "a\xEF\xBF\xBD\xEF\xBF\xBD!");
  EXPECT_EQ(AsUtf8("a\xff", 3), "a");
  for (const std::string& bytes : NoCharacters()) EXPECT_TRUE(IsUtf8(AsUtf8(bytes + "x", 100))) << bytes;
}

TEST(Utf8Test, NamesAreShownAsTheyAreOrNotAtAll) {
  for (const char* const name : {"", "rollout-0", "w\xc3\xb6rker", "a b"}) EXPECT_TRUE(IsPrintable(name)) << name;
  for (const char* const name : {"\x1b[31m", "a\nb", "a\tb", "\x7f", "\xc2\x9b"})
    EXPECT_FALSE(IsPrintable(name)) << name;
  EXPECT_FALSE(IsPrintable(std::string(1, '\0')));
  for (const std::string& bytes : NoCharacters()) EXPECT_FALSE(IsPrintable(bytes)) << bytes;
}

TEST(Utf8Test, ALogEntryHoldsNothingForTheTerminalAndLooksLikeNoOther) {
  EXPECT_EQ(EscapedForLog("step 3 \xc3\xa4\t!"), "step 3 \xc3\xa4\t!");
  EXPECT_EQ(EscapedForLog("\x1b[31mred\a"), "\\x1b[31mred\\x07");
  EXPECT_EQ(EscapedForLog("a\r\nb"), "a\\x0d\n    b");
  EXPECT_EQ(EscapedForLog("\xff\xc2\x9b"), "\\xff\\xc2\\x9b");
}

}  // namespace
}  // namespace grpo
