#include "reward/math/text.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"

namespace grpo::math {
namespace {

struct Spelling {
  absl::string_view from, to;
};

// Symbols, tried in this order at every position that is no command.
constexpr Spelling kSymbols[] = {
    {"{,}", ","},    {"^{\\circ}", "\u00b0"}, {"^\\circ", "\u00b0"},  {"\u2212", "-"}, {"\u00a0", " "},
    {"\u2009", " "}, {"\u202f", " "},         {"\u00d7", "\\times "}, {"~", " "},
};

// Whole commands; those of kWrappers give their argument instead.
constexpr Spelling kCommands[] = {
    {"\\dfrac", "\\frac"}, {"\\tfrac", "\\frac"},  {"\\cfrac", "\\frac"}, {"\\$", "$"},
    {"\\%", "%"},          {"\\degree", "\u00b0"}, {"\\circ", "\u00b0"},  {"\\displaystyle", " "},
    {"\\left", ""},        {"\\right", ""},        {"\\quad", " "},       {"\\qquad", " "},
    {"\\;", " "},          {"\\:", " "},           {"\\ ", " "},
};

constexpr absl::string_view kWrappers[] = {"\\text",   "\\textbf", "\\textit", "\\textrm", "\\mathrm",
                                           "\\mathbf", "\\mathit", "\\mbox",   "\\boxed",  "\\fbox"};

// The command at the head of `text`: a backslash with the letters that follow, or with one other byte.
absl::string_view CommandAt(absl::string_view text) {
  size_t length = 1;
  while (length < text.size() && absl::ascii_isalpha(text[length])) ++length;
  return text.substr(0, length == 1 ? 2 : length);
}

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

}  // namespace

absl::string_view TrimDecoration(absl::string_view text) {
  // Every round shortens the text, and a pair that cannot be stripped ends the loop: linear.
  for (size_t size = text.size() + 1; text.size() < size;) {
    size = text.size();
    text = absl::StripAsciiWhitespace(text);
    absl::ConsumePrefix(&text, "**");
    absl::ConsumeSuffix(&text, "**");
    absl::ConsumeSuffix(&text, ".");
    if (StripPair("$$", "$$", &text) || StripPair("$", "$", &text) || StripPair("\\(", "\\)", &text)) continue;
    StripPair("\\[", "\\]", &text);
  }
  return text;
}

std::string CanonicalSpelling(absl::string_view text) {
  text = TrimDecoration(text);
  std::string result;
  result.reserve(text.size());
  // For every open brace: whether it belongs to a wrapper, whose braces become spaces.
  std::vector<bool> wrapper_braces;
  while (!text.empty()) {
    if (text[0] == '\\') {
      const absl::string_view command = CommandAt(text);
      text.remove_prefix(command.size());
      const auto spelling = std::find_if(std::begin(kCommands), std::end(kCommands),
                                         [&](const Spelling& candidate) { return candidate.from == command; });
      if (command == "\\!") {
        // A negative space takes back the blanks around it: "10,\! 000".
        text = absl::StripLeadingAsciiWhitespace(text);
      } else if (std::find(std::begin(kWrappers), std::end(kWrappers), command) != std::end(kWrappers) &&
                 absl::StartsWith(text, "{")) {
        text.remove_prefix(1);
        wrapper_braces.push_back(true);
        result += ' ';
      } else {
        const absl::string_view to = spelling == std::end(kCommands) ? command : spelling->to;
        result.append(to.data(), to.size());
      }
      continue;
    }
    const auto symbol = std::find_if(std::begin(kSymbols), std::end(kSymbols),
                                     [&](const Spelling& candidate) { return absl::StartsWith(text, candidate.from); });
    if (symbol != std::end(kSymbols)) {
      result.append(symbol->to.data(), symbol->to.size());
      text.remove_prefix(symbol->from.size());
      continue;
    }
    char byte = text[0];
    text.remove_prefix(1);
    if (byte == '{') wrapper_braces.push_back(false);
    if (byte == '}' && !wrapper_braces.empty()) {
      if (wrapper_braces.back()) byte = ' ';
      wrapper_braces.pop_back();
    }
    result += absl::ascii_isspace(byte) ? ' ' : byte;
  }
  const absl::string_view trimmed = absl::StripAsciiWhitespace(result);
  return std::string(trimmed.data(), trimmed.size());
}

std::string ComparableText(absl::string_view canonical_spelling) {
  std::string result;
  bool words_only = true;
  for (size_t i = 0; i < canonical_spelling.size(); ++i) {
    const char byte = canonical_spelling[i];
    if (byte != ' ') {
      words_only &= absl::ascii_isalpha(byte);
      result += byte;
      continue;
    }
    // "2 1/3" is not "21/3": a blank between letters or digits stays, one of a run.
    const char next = i + 1 < canonical_spelling.size() ? canonical_spelling[i + 1] : ' ';
    if (!result.empty() && absl::ascii_isalnum(result.back()) && absl::ascii_isalnum(next)) result += ' ';
  }
  if (words_only) absl::AsciiStrToLower(&result);
  return result;
}

}  // namespace grpo::math
