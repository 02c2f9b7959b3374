#include "reward/extract.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "reward/explanation.h"
#include "reward/math/text.h"
#include "reward/statement.h"
#include "reward/words.h"

namespace grpo {
namespace {

using absl::string_view;
constexpr size_t kNone = string_view::npos;
// Bytes of a formula without delimiters, and parts of a list without boxes.
constexpr size_t kMaxBareFormula = 300, kMaxParts = 100;

// The text that counts, and whether answer tags enclose it.
struct Region {
  string_view text;
  bool in_answer_tags = false;
};

// What a rung of the ladder says: nothing (the next one decides), "no answer" (empty), or the answer.
using Parts = std::vector<string_view>;
using Rung = std::optional<Parts>;

// One candidate as the answer; blank means no answer.
Rung Single(string_view text) {
  const string_view trimmed = math::TrimDecoration(text);
  return trimmed.empty() ? Parts{} : Parts{trimmed};
}

// The content of the last whole pair of answer tags. Absent when a tag is there but no whole pair, or one stays open
// behind it.
std::optional<string_view> LastAnswerPair(string_view text) {
  constexpr string_view kOpen = "<answer>", kClose = "</answer>";
  const size_t close = text.rfind(kClose);
  if (close == kNone) return std::nullopt;
  // A close without an open before it completes nothing, so the last whole pair ends at the first close behind an open.
  const size_t last_open = text.rfind(kOpen);
  if (last_open == kNone || last_open > close) return std::nullopt;
  const size_t begin = last_open + kOpen.size();
  return text.substr(begin, text.find(kClose, begin) - begin);
}

std::optional<Region> FindRegion(string_view completion, bool prefill, bool answer_tags) {
  constexpr string_view kThink = "<think>", kEndThink = "</think>";
  const size_t end_think = completion.rfind(kEndThink);
  if (end_think != kNone) {
    completion.remove_prefix(end_think + kEndThink.size());
  } else if (prefill) {
    return std::nullopt;
  }
  if (absl::StrContains(completion, kThink)) return std::nullopt;
  const bool has_tags = absl::StrContains(completion, "<answer>") || absl::StrContains(completion, "</answer>");
  if (!answer_tags || !has_tags) {
    return Region{completion, false};
  }
  const std::optional<string_view> answer = LastAnswerPair(completion);
  if (!answer.has_value()) return std::nullopt;
  return Region{*answer, true};
}

// Whether boxes with `gap` between them are one list.
bool IsGlue(string_view gap) {
  constexpr string_view kGlue[] = {",",   ";",   ".",   "$",   "\\(",    "\\)", "\\[", "\\]", "\\quad", "\\qquad",
                                   "\\,", "\\;", "\\:", "\\!", "\\text", "{",   "}",   "and", "or"};
  while (!(gap = absl::StripLeadingAsciiWhitespace(gap)).empty()) {
    if (absl::ConsumePrefix(&gap, "\\ ")) continue;
    if (std::none_of(std::begin(kGlue), std::end(kGlue),
                     [&](string_view glue) { return absl::ConsumePrefix(&gap, glue); })) {
      return false;
    }
  }
  return true;
}

// A box: where the command begins, its content, what stands behind it.
struct Box {
  size_t begin, content_begin, content_end, end;
};

// Position of the brace that closes the one before `begin`; kNone when there is none. Escaped braces do not count.
size_t ClosingBrace(string_view text, size_t begin) {
  int64_t depth = 1;
  for (size_t i = begin; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '{') {
      ++depth;
    } else if (text[i] == '}' && --depth == 0) {
      return i;
    }
  }
  return kNone;
}

bool IsDigitAt(string_view text, size_t at) {
  return at < text.size() && absl::ascii_isdigit(text[at]);
}

// The end of what a box without braces holds from `begin`: a number, a letter, or a command with its arguments. kNone
// when something else stands there; absent when an argument never closes. TeX boxes one digit of "\boxed 12"; nobody
// means that.
std::optional<size_t> BareContentEnd(string_view text, size_t begin) {
  size_t end = begin;
  if (text[begin] == '\\') {
    for (++end; end < text.size() && absl::ascii_isalpha(text[end]);) ++end;
    if (end == begin + 1) return kNone;
    while (end < text.size() && text[end] == '{') {
      const size_t close = ClosingBrace(text, end + 1);
      if (close == kNone) return std::nullopt;
      end = close + 1;
    }
    // "\frac12".
    for (int i = 0; i < 2 && end < text.size() && absl::ascii_isdigit(text[end]); ++i) ++end;
    return end;
  }
  if (absl::ascii_isalpha(text[begin])) return begin + 1;
  if (text[end] == '-') ++end;
  const size_t digits = end;
  while (IsDigitAt(text, end) || (end > digits && end < text.size() && std::memchr(".,", text[end], 2) != nullptr &&
                                  IsDigitAt(text, end + 1))) {
    ++end;
  }
  return end > digits ? end : kNone;
}

// Whether the bare content of a box that ends at `end` is all that it can be meant to hold: a formula, a sentence or a
// line ends there, or words follow a number.
bool EndsBareContent(string_view text, size_t begin, size_t end) {
  const string_view rest = text.substr(end);
  string_view behind = absl::StripLeadingAsciiWhitespace(rest);
  const auto starts = [&](string_view mark) { return absl::StartsWith(behind, mark); };
  if (behind.empty() || rest[0] == '\n' || rest[0] == '\r') return true;
  if (absl::ConsumePrefix(&behind, ",") || absl::ConsumePrefix(&behind, ";")) {
    // "\boxed 1, 2" may be a list.
    behind = absl::StripLeadingAsciiWhitespace(behind);
    return !IsDigitAt(behind, 0) && !starts("-") && (!starts("\\") || starts("\\boxed") || starts("\\fbox"));
  }
  if (std::memchr("$.)]}", behind[0], 5) != nullptr || starts("\\)") || starts("\\]") || starts("\\boxed")) return true;
  const bool is_apart = rest.data() != behind.data(), is_letter = absl::ascii_isalpha(text[begin]);
  const bool is_word = behind.size() > 1 && absl::ascii_isalpha(behind[0]) && absl::ascii_isalpha(behind[1]);
  return is_apart && !is_letter && is_word && !starts("or ") && !starts("and ");
}

// The box whose command of `length` bytes stands at `at`. Absent when it never closes; with an end of 0 when the
// command is only mentioned.
std::optional<Box> BoxAt(string_view text, size_t at, size_t length) {
  constexpr Box kMention{};
  const size_t content = text.find_first_not_of(" \t\r\n", at + length);
  // Cut off behind the command: a box that never closes.
  if (content == kNone) return std::nullopt;
  if (text[content] == '{') {
    const size_t close = ClosingBrace(text, content + 1);
    if (close == kNone) return std::nullopt;
    return Box{at, content + 1, close, close + 1};
  }
  // "\boxedx" is another command.
  if (content == at + length && absl::ascii_isalpha(text[content])) return kMention;
  const std::optional<size_t> end = BareContentEnd(text, content);
  if (!end.has_value()) return std::nullopt;
  if (*end == kNone) return kMention;
  if (EndsBareContent(text, content, *end)) return Box{at, content, *end, *end};
  // "I use \boxed to mark it".
  return absl::ascii_isalpha(text[content]) ? std::make_optional(kMention) : std::nullopt;
}

// Rung 1.
Rung LastBoxes(string_view text) {
  std::vector<Box> boxes;
  for (size_t at = text.find('\\'); at != kNone; at = text.find('\\', at)) {
    const string_view command = text.substr(at);
    const size_t length = absl::StartsWith(command, "\\boxed") ? 6 : absl::StartsWith(command, "\\fbox") ? 5 : 0;
    if (length == 0) {
      ++at;
      continue;
    }
    const std::optional<Box> box = BoxAt(text, at, length);
    if (!box.has_value()) return Parts{};
    if (box->end > 0) boxes.push_back(*box);
    at = box->end > 0 ? box->end : at + length;
  }
  if (boxes.empty()) return std::nullopt;
  size_t first = boxes.size() - 1;
  while (first > 0 && IsGlue(text.substr(boxes[first - 1].end, boxes[first].begin - boxes[first - 1].end))) --first;
  Parts parts;
  for (size_t i = first; i < boxes.size(); ++i) {
    const string_view part =
        math::TrimDecoration(text.substr(boxes[i].content_begin, boxes[i].content_end - boxes[i].content_begin));
    if (!part.empty()) parts.push_back(part);
  }
  return parts;
}

string_view UpToLineEnd(string_view text) {
  return text.substr(0, text.find('\n'));
}

// Rung 2.
Rung LastHashLine(string_view text) {
  constexpr string_view kMark = "#### ";
  for (size_t at = text.rfind(kMark); at != kNone; at = text.rfind(kMark, at - 1)) {
    if (at == 0 || text[at - 1] == '\n') return Single(UpToLineEnd(text.substr(at + kMark.size())));
  }
  return std::nullopt;
}

// The last formula between `open` and `close`; empty when there is none.
string_view LastDelimited(string_view text, string_view open, string_view close) {
  const size_t end = text.rfind(close);
  const size_t begin = end == kNone ? kNone : text.substr(0, end).rfind(open);
  if (begin == kNone) return {};
  return text.substr(begin + open.size(), end - begin - open.size());
}

// The last $...$ on one line. Blanks inside its dollars are only a formula's when it holds a command: "$5 and $6" are
// amounts.
string_view LastDollarFormula(string_view text) {
  for (size_t end = text.rfind('$'); end != kNone && end > 0;) {
    const size_t begin = text.rfind('$', end - 1);
    if (begin == kNone) return {};
    const string_view inside = text.substr(begin + 1, end - begin - 1);
    const bool has_edges =
        !inside.empty() && (absl::ascii_isspace(inside.front()) || absl::ascii_isspace(inside.back()));
    if (!inside.empty() && inside.find('\n') == kNone && (!has_edges || absl::StrContains(inside, "\\"))) return inside;
    end = begin;
  }
  return {};
}

// The last line when it holds commands and no words: a formula without its delimiters.
string_view LastBareFormula(string_view text) {
  text = absl::StripTrailingAsciiWhitespace(text);
  const size_t line_begin = text.rfind('\n');
  const string_view line = line_begin == kNone ? text : text.substr(line_begin + 1);
  const bool has_delimiters =
      absl::StrContains(line, "$") || absl::StrContains(line, "\\(") || absl::StrContains(line, "\\[");
  if (line.size() > kMaxBareFormula || !absl::StrContains(line, "\\") || has_delimiters || HoldsWord(line)) return {};
  return line;
}

// The last number with its sign, separators, fraction bar and percent sign, not one inside a word; empty when there is
// none.
string_view LastNumber(string_view text) {
  size_t end = text.size();
  while ((end = text.substr(0, end).find_last_of("0123456789")) != kNone) {
    size_t begin = end++;
    while (begin > 0) {
      // "1 000", but "3 4" are two.
      const bool thousands = text[begin - 1] == ' ' && IsDigitAt(text, begin) && IsDigitAt(text, begin + 1) &&
                             IsDigitAt(text, begin + 2) && !IsDigitAt(text, begin + 3);
      if (absl::ascii_isdigit(text[begin - 1])) {
        --begin;
      } else if (begin > 1 && (thousands || std::memchr(".,/", text[begin - 1], 3) != nullptr) &&
                 absl::ascii_isdigit(text[begin - 2])) {
        begin -= 2;
      } else {
        break;
      }
    }
    const bool in_word =
        begin > 0 && end < text.size() && absl::ascii_isalpha(text[begin - 1]) && absl::ascii_isalpha(text[end]);
    if (!in_word) {
      if (begin > 0 && text[begin - 1] == '.' && (begin == 1 || absl::ascii_isspace(text[begin - 2]))) --begin;
      if (begin > 0 && text[begin - 1] == '-' && (begin == 1 || !absl::ascii_isalnum(text[begin - 2]))) --begin;
      for (const string_view percent : {"%", "\\%"}) {
        if (absl::StartsWith(text.substr(end), percent)) end += percent.size();
      }
      return text.substr(begin, end - begin);
    }
    end = begin;
  }
  return {};
}

string_view LastFormula(string_view text) {
  string_view last;
  for (const string_view candidate :
       {LastDelimited(text, "\\(", "\\)"), LastDelimited(text, "\\[", "\\]"), LastDollarFormula(text)}) {
    if (!candidate.empty() && (last.empty() || candidate.data() > last.data())) last = candidate;
  }
  return last;
}

// Whether `gap` says that what stands before and behind it are one list: glue with a word or a comma in it.
bool IsListGlue(string_view gap) {
  return IsGlue(gap) && (absl::StrContains(gap, ",") || absl::StrContains(gap, ";") || absl::StrContains(gap, "and") ||
                         absl::StrContains(gap, "or"));
}

// What stands before a formula, without the delimiter that opens it.
string_view WithoutOpening(string_view before) {
  before = absl::StripTrailingAsciiWhitespace(before);
  for (const string_view open : {"$$", "$", "\\(", "\\["}) {
    if (absl::ConsumeSuffix(&before, open)) break;
  }
  return before;
}

// Rung 5. Formulas with "or" and the like between them are one list, as boxes are, and so are numbers with "or".
Rung LastFormulaOrNumber(string_view text) {
  string_view last = LastFormula(text);
  const string_view number = LastNumber(text), bare = LastBareFormula(text);
  const auto ends_behind = [&](string_view candidate) {
    return !candidate.empty() && (last.empty() || candidate.data() + candidate.size() > last.data() + last.size());
  };
  const bool is_formula = !ends_behind(number);
  if (!is_formula) last = number;
  if (!bare.empty() && bare.data() <= last.data()) last = bare;
  if (last.empty()) return std::nullopt;
  Parts parts = {math::TrimDecoration(last)};
  string_view before = text.substr(0, last.data() - text.data());
  while (parts.size() < kMaxParts) {
    const size_t last_begin = before.size();
    if (is_formula) before = WithoutOpening(before);
    const string_view previous = is_formula ? LastFormula(before) : LastNumber(before);
    if (previous.empty()) break;
    const size_t end = previous.data() + previous.size() - text.data();
    const string_view gap = text.substr(end, last_begin - end);
    if (is_formula ? !IsListGlue(gap) : absl::StripAsciiWhitespace(gap) != "or") break;
    parts.insert(parts.begin(), math::TrimDecoration(previous));
    before = text.substr(0, previous.data() - text.data());
  }
  parts.erase(std::remove(parts.begin(), parts.end(), string_view()), parts.end());
  return parts;
}

}  // namespace

std::string Extraction::Text() const {
  return absl::StrJoin(parts, ", ");
}

namespace {

// Rung 3.
std::optional<Extraction> ReadPhrase(string_view text, bool plain_fallback) {
  std::optional<Statement> statement = LastStatement(text);
  if (!statement.has_value()) return std::nullopt;
  Extraction extraction{.parts = std::move(statement->parts)};
  if (extraction.parts.size() == 1) extraction.sentence = std::string(math::TrimDecoration(statement->sentence));
  // "Answer: the largest n is 34."
  if (plain_fallback && extraction.parts.size() == 1) {
    std::string& part = extraction.parts[0];
    const size_t verb = part.rfind(" is ");
    if (verb != kNone) part = WithoutExplanation(string_view(part).substr(verb + 4));
    if (part.empty()) extraction.parts.clear();
  }
  return extraction;
}

}  // namespace

Extraction ExtractAnswer(string_view completion, const ExtractOptions& options) {
  const std::optional<Region> region = FindRegion(completion, options.prefill, options.answer_tags);
  if (!region.has_value()) return {};
  Extraction extraction;
  Rung rung;
  if (options.boxes) rung = LastBoxes(region->text);
  if (!rung.has_value() && options.hash_lines) rung = LastHashLine(region->text);
  std::optional<Extraction> stated;
  if (!rung.has_value() && options.phrases) stated = ReadPhrase(region->text, options.plain_fallback);
  if (stated.has_value()) {
    extraction = *std::move(stated);
  } else {
    if (!rung.has_value() && region->in_answer_tags) rung = Single(region->text);
    if (!rung.has_value() && options.plain_fallback) rung = LastFormulaOrNumber(region->text);
    for (const string_view part : rung.value_or(Parts{})) extraction.parts.emplace_back(part);
  }
  absl::flat_hash_set<std::string> seen;
  extraction.parts.erase(std::remove_if(extraction.parts.begin(), extraction.parts.end(),
                                        [&](const std::string& part) { return !seen.insert(part).second; }),
                         extraction.parts.end());
  if (!extraction.parts.empty()) extraction.outcome = v1::OUTCOME_SCORED;
  return extraction;
}

bool IsPrefilled(const v1::Prompt& prompt) {
  return absl::EndsWith(absl::StripTrailingAsciiWhitespace(prompt.text()), "<think>");
}

}  // namespace grpo
