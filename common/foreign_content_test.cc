#include "common/foreign_content.h"

#include <string>

#include "common/status_testing.h"
#include "gmock/gmock.h"

namespace grpo {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(ForeignContentTest, AGitLfsPointerSaysHowLargeTheFileIs) {
  EXPECT_EQ(ForeignContent("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 3554214621\n"),
            "is a Git LFS pointer to a file of 3554214621 bytes, not the file itself: fetch that with `git lfs pull`");
  for (const char* const without_size :
       {"version https://git-lfs.github.com/spec/v1\n", "version https://git-lfs.github.com/spec/v2\noid x\nsize \n",
        "version https://git-lfs.github.com/spec/v1\nsize x\n"}) {
    EXPECT_THAT(ForeignContent(without_size), StartsWith("is a Git LFS pointer to a file, not the file itself"));
  }
}

TEST(ForeignContentTest, AWebPageIsToldHoweverItBegins) {
  for (const char* const page : {"<!DOCTYPE html><html>", "<!doctype HTML>", "<html lang=\"en\">", "\n\t <HTML>",
                                 "\xef\xbb\xbf<!DOCTYPE html>", "\xef\xbb\xbf \r\n<html>"}) {
    EXPECT_THAT(ForeignContent(page), HasSubstr("is a web page (HTML)")) << page;
  }
}

TEST(ForeignContentTest, APackedFileSaysByWhat) {
  EXPECT_EQ(ForeignContent("PK\x03\x04rest"), "is a ZIP archive: unpack it first");
  EXPECT_EQ(ForeignContent("\x28\xb5\x2f\xfdrest"), "is packed with Zstandard: unpack it first");
  EXPECT_EQ(ForeignContent(std::string("\xfd") + "7zXZ"), "is packed with XZ: unpack it first");
  EXPECT_EQ(ForeignContent("BZh9"), "is packed with bzip2: unpack it first");
}

// A problem may speak of any of these.
TEST(ForeignContentTest, AnythingElseIsItself) {
  for (const char* const content :
       {"", " ", "{\"problem\": \"<html>\"}", "[1]", "text <!DOCTYPE html>", "<htm", "PK", "PK\x03", "BZ", "7zXZ",
        "# version https://git-lfs.github.com/spec/v1", "version 1", "<!-- <html> -->", "\x1f\x8b gzip is read"}) {
    EXPECT_EQ(ForeignContent(content), "") << content;
  }
}

}  // namespace
}  // namespace grpo
