#include "tools/page/markup.h"

#include "common/status_testing.h"
#include "gmock/gmock.h"
#include "tools/grpoctl/text.h"

namespace grpo {
namespace {

using ::testing::HasSubstr;

TEST(EscapeHtmlTest, LeavesNoMarkup) {
  EXPECT_EQ(EscapeHtml("</td><script a=\"b\" c='d'>&amp;"),
            "&lt;/td&gt;&lt;script a=&quot;b&quot; c=&#39;d&#39;&gt;&amp;amp;");
  EXPECT_EQ(EscapeHtml("naïve 1 + 1"), "naïve 1 + 1");
}

TEST(EscapeMarkdownTest, LeavesNoMarkup) {
  EXPECT_EQ(EscapeMarkdown("plain 3.5 % (so)"), "plain 3.5 % (so)");
  EXPECT_EQ(EscapeMarkdown("|`*_[<&#\\!~@:$"),
            "&#124;&#96;&#42;&#95;&#91;&#60;&#38;&#35;&#92;&#33;&#126;&#64;&#58;&#36;");
  EXPECT_EQ(EscapeMarkdown("www.x.org"), "www&#46;x.org");
}

TEST(PrintableLinesTest, KeepsLinesAndShowsWhatHides) {
  EXPECT_EQ(PrintableLines(absl::string_view("a\nb\0\xff\xe2\x80\xae", 8), 100), "a\nb\\x00\\xff\\xe2\\x80\\xae");
}

TEST(PrintableLinesTest, CutsBetweenCharacters) {
  EXPECT_EQ(PrintableLines("aé", 2), "a … (2 bytes more)");
  EXPECT_THAT(PrintableLines(std::string(1 << 20, 'x'), 10), HasSubstr("xxxxxxxxxx … (1,048,566 bytes more)"));
}

}  // namespace
}  // namespace grpo
