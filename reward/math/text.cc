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

// Writes the canonical spelling of `text` from left to right.
class SpellingWriter {
 public:
  explicit SpellingWriter(absl::string_view text) : rest_(text) { result_.reserve(text.size()); }

  std::string Write() {
    while (!rest_.empty()) {
      if (rest_[0] == '\\') {
        WriteCommand();
      } else {
        WriteSymbol();
      }
    }
    // A wrapper that never closes is kept as the fault it is.
    for (const size_t opened_at : open_braces_) {
      if (opened_at != kPlain) result_[opened_at] = '{';
    }
    const absl::string_view trimmed = absl::StripAsciiWhitespace(result_);
    return std::string(trimmed.data(), trimmed.size());
  }

 private:
  static constexpr size_t kPlain = absl::string_view::npos;

  void Append(absl::string_view text) { result_.append(text.data(), text.size()); }

  void WriteCommand() {
    const absl::string_view command = CommandAt(rest_);
    rest_.remove_prefix(command.size());
    if (command == "\\!") {
      // A negative space takes back the blanks behind it: "10,\! 000".
      rest_ = absl::StripLeadingAsciiWhitespace(rest_);
      return;
    }
    const bool is_wrapper = std::find(std::begin(kWrappers), std::end(kWrappers), command) != std::end(kWrappers);
    if (is_wrapper && absl::ConsumePrefix(&rest_, "{")) {
      open_braces_.push_back(result_.size());
      result_ += ' ';
      return;
    }
    const auto spelling = std::find_if(std::begin(kCommands), std::end(kCommands),
                                       [&](const Spelling& candidate) { return candidate.from == command; });
    Append(spelling == std::end(kCommands) ? command : spelling->to);
  }

  void WriteSymbol() {
    const auto symbol = std::find_if(std::begin(kSymbols), std::end(kSymbols), [&](const Spelling& candidate) {
      return absl::StartsWith(rest_, candidate.from);
    });
    if (symbol != std::end(kSymbols)) {
      Append(symbol->to);
      rest_.remove_prefix(symbol->from.size());
      return;
    }
    char byte = rest_[0];
    rest_.remove_prefix(1);
    if (byte == '{') open_braces_.push_back(kPlain);
    if (byte == '}' && !open_braces_.empty()) {
      if (open_braces_.back() != kPlain) byte = ' ';
      open_braces_.pop_back();
    }
    result_ += absl::ascii_isspace(byte) ? ' ' : byte;
  }

  absl::string_view rest_;
  std::string result_;
  // For every brace that is open: where in result_ a wrapper began, whose braces become spaces, or kPlain.
  std::vector<size_t> open_braces_;
};

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
  return SpellingWriter(TrimDecoration(text)).Write();
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
