#include "reward/math/text.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"

namespace grpo::math {
namespace {

// Whether `text` holds `delimiter` without a backslash before it.
bool HasUnescaped(absl::string_view delimiter, absl::string_view text) {
  for (size_t at = text.find(delimiter); at != absl::string_view::npos; at = text.find(delimiter, at + 1)) {
    if (at == 0 || text[at - 1] != '\\') return true;
  }
  return false;
}

// Strips `open` and `close` when they surround `text` as one pair; "$5$ or $6$" is no pair around "5$ or $6".
bool StripPair(absl::string_view open, absl::string_view close, absl::string_view* text) {
  if (text->size() < open.size() + close.size() || !absl::StartsWith(*text, open) || !absl::EndsWith(*text, close)) {
    return false;
  }
  const absl::string_view inside = text->substr(open.size(), text->size() - open.size() - close.size());
  const bool close_is_escaped = close[0] == '$' && absl::EndsWith(inside, "\\");
  if (close_is_escaped || HasUnescaped(open[0] == '$' ? "$" : open, inside)) return false;
  *text = inside;
  return true;
}

// Separators and TeX's spaces: ",", ";", "~", "\\,", "\\quad", "\\\\".
void TrimSpaces(absl::string_view* text) {
  constexpr absl::string_view kSeparators = ",;~";
  // Most answers have none. Two backslashes in front are one that was escaped twice, as in JSON.
  if (!text->empty() && (text->front() == '\\' || absl::StrContains(kSeparators, text->front()))) {
    for (const absl::string_view space : {",", ";", "~", "\\,", "\\;", "\\:", "\\!", "\\>", "\\ "}) {
      absl::ConsumePrefix(text, space);
    }
  }
  if (!text->empty() && absl::StrContains(",;~:!>d\\", text->back())) {
    // What is left of a backslash and a blank, a comma or a semicolon is a backslash.
    for (const absl::string_view space : {",", ";", "~", "\\:", "\\!", "\\>", "\\qquad", "\\quad", "\\"}) {
      absl::ConsumeSuffix(text, space);
    }
  }
}

}  // namespace

absl::string_view TrimDecoration(absl::string_view text) {
  // Every round shortens the text, and a pair that cannot be stripped ends the loop: linear.
  for (size_t size = text.size() + 1; text.size() < size;) {
    size = text.size();
    text = absl::StripAsciiWhitespace(text);
    absl::ConsumePrefix(&text, "**");
    absl::ConsumeSuffix(&text, "**");
    absl::ConsumeSuffix(&text, ".");
    TrimSpaces(&text);
    if (StripPair("$$", "$$", &text) || StripPair("$", "$", &text) || StripPair("\\(", "\\)", &text)) continue;
    StripPair("\\[", "\\]", &text);
  }
  return text;
}

}  // namespace grpo::math
