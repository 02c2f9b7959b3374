#include "tools/page/markup.h"

#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "tools/grpoctl/text.h"

namespace grpo {

std::string EscapeHtml(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}, {"'", "&#39;"}});
}

std::string EscapeMarkdown(absl::string_view text) {
  // What reads badly as an entity and means nothing inside a line.
  constexpr absl::string_view kHarmless = " .,%()";
  std::string escaped;
  for (const char c : text) {
    const bool plain = absl::ascii_isalnum(c) || !absl::ascii_isascii(c) || kHarmless.find(c) != kHarmless.npos;
    if (plain) {
      escaped.push_back(c);
    } else {
      absl::StrAppend(&escaped, "&#", static_cast<int>(c), ";");
    }
  }
  // "www." begins a link without any mark.
  return absl::StrReplaceAll(escaped, {{"www.", "www&#46;"}});
}

std::string PrintableLines(absl::string_view bytes, int max_bytes) {
  // Looks at no more than what is shown: a completion may have a megabyte.
  const std::string shown = Truncated(std::string(bytes.substr(0, size_t{4} + max_bytes)), max_bytes);
  std::vector<std::string> lines;
  for (const absl::string_view line : absl::StrSplit(shown, '\n')) lines.push_back(Printable(line));
  std::string text = absl::StrJoin(lines, "\n");
  if (shown.size() < bytes.size())
    absl::StrAppend(&text, " … (", FormatCount(static_cast<int64_t>(bytes.size() - shown.size())), " bytes more)");
  return text;
}

}  // namespace grpo
