// Text that a model wrote, put into HTML and Markdown so that it stays text. Pure; any thread.
#ifndef GRPO_TOOLS_PAGE_MARKUP_H_
#define GRPO_TOOLS_PAGE_MARKUP_H_

#include <string>

#include "absl/strings/string_view.h"

namespace grpo {

// For element content and quoted attributes: the characters that mean something there, escaped. The text must be
// printable (text.h) already, unless its line breaks are meant.
std::string EscapeHtml(absl::string_view text);
// For a cell or paragraph of GitHub's Markdown: no markup, link, mention or column comes out of it.
std::string EscapeMarkdown(absl::string_view text);

// Bytes on several lines, as they were, each made printable; what is longer than max_bytes is cut, and that is said.
// Line breaks stay; never inside a UTF-8 sequence is it cut.
std::string PrintableLines(absl::string_view bytes, int max_bytes);

}  // namespace grpo

#endif  // GRPO_TOOLS_PAGE_MARKUP_H_
