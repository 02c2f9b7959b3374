#include "common/foreign_content.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace grpo {

std::string ForeignContent(absl::string_view content) {
  if (absl::StartsWith(content, "version https://git-lfs.github.com/spec/")) {
    const size_t size = content.find("\nsize ");
    absl::string_view bytes = size == absl::string_view::npos ? "" : content.substr(size + 6);
    bytes = bytes.substr(0, bytes.find_first_not_of("0123456789"));
    return absl::StrCat("is a Git LFS pointer to a file", bytes.empty() ? "" : absl::StrCat(" of ", bytes, " bytes"),
                        ", not the file itself: fetch that with `git lfs pull`");
  }
  absl::string_view text = content;
  absl::ConsumePrefix(&text, "\xef\xbb\xbf");
  text = absl::StripLeadingAsciiWhitespace(text);
  if (absl::StartsWithIgnoreCase(text, "<!doctype html") || absl::StartsWithIgnoreCase(text, "<html")) {
    return "is a web page (HTML), as a download from the page about the file gives: fetch the file itself";
  }
  for (const auto& [magic, name] : {std::pair<absl::string_view, absl::string_view>{"PK\x03\x04", "a ZIP archive"},
                                    {"\x28\xb5\x2f\xfd", "packed with Zstandard"},
                                    {"\xfd"
                                     "7zXZ",
                                     "packed with XZ"},
                                    {"BZh", "packed with bzip2"}}) {
    if (absl::StartsWith(content, magic)) return absl::StrCat("is ", name, ": unpack it first");
  }
  return "";
}

}  // namespace grpo
