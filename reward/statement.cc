#include "reward/statement.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "reward/explanation.h"
#include "reward/math/text.h"
#include "reward/words.h"

namespace grpo {
namespace {

using absl::string_view;
constexpr size_t kNone = string_view::npos;
// Bytes of a line that may be a value below another one, and how many of those there may be; bytes that are looked at
// before a phrase.
constexpr size_t kMaxValueLine = 300, kMaxParts = 100, kMaxBefore = 160;

bool ConsumeIgnoreCase(string_view* text, string_view prefix) {
  if (!absl::StartsWithIgnoreCase(*text, prefix)) return false;
  text->remove_prefix(prefix.size());
  return true;
}

// Consumes `word` when it is a whole one.
bool ConsumeWord(string_view* text, string_view word) {
  if (!absl::StartsWithIgnoreCase(*text, word)) return false;
  if (text->size() > word.size() && absl::ascii_isalnum((*text)[word.size()])) return false;
  text->remove_prefix(word.size());
  return true;
}

template <size_t N>
bool ConsumeAnyWord(string_view* text, const string_view (&words)[N]) {
  return std::any_of(std::begin(words), std::end(words), [&](string_view word) { return ConsumeWord(text, word); });
}

// Blanks of the line, true when there was one.
bool ConsumeBlanks(string_view* text) {
  const size_t length = std::min(text->find_first_not_of(" \t"), text->size());
  text->remove_prefix(length);
  return length > 0;
}

// What Markdown or LaTeX closes a heading or bold words with.
void ConsumeMarks(string_view* text) {
  text->remove_prefix(std::min(text->find_first_not_of("*_}`"), text->size()));
}

bool ConsumeColon(string_view* text) {
  // The last one is the full-width colon.
  for (const string_view colon : {":", "=", "\uff1a"}) {
    if (absl::ConsumePrefix(text, colon)) return true;
  }
  return false;
}

// "to the second question" and "choice" behind "answer".
void ConsumeObject(string_view* text) {
  string_view rest = *text;
  if (!ConsumeBlanks(&rest)) return;
  constexpr string_view kKinds[] = {"choice", "option", "letter"};
  if (ConsumeAnyWord(&rest, kKinds)) {
    *text = rest;
    return;
  }
  constexpr string_view kPrepositions[] = {"to", "of", "for"}, kArticles[] = {"the", "this", "that", "your", "our"},
                        kObjects[] = {"question", "problem", "exercise", "task", "puzzle", "riddle", "equation"};
  if (!ConsumeAnyWord(&rest, kPrepositions) || !ConsumeBlanks(&rest) || !ConsumeAnyWord(&rest, kArticles)) return;
  for (int num_words = 0; num_words < 2; ++num_words) {
    if (!ConsumeBlanks(&rest)) return;
    if (ConsumeAnyWord(&rest, kObjects)) {
      *text = rest;
      return;
    }
    rest.remove_prefix(std::find_if_not(rest.begin(), rest.end(), absl::ascii_isalpha) - rest.begin());
  }
}

// ", therefore," before the verb.
void ConsumeInsertion(string_view* text) {
  string_view rest = *text;
  constexpr string_view kInsertions[] = {"therefore", "thus", "hence", "then", "so"};
  const bool comma = absl::ConsumePrefix(&rest, ",");
  if (!ConsumeBlanks(&rest) || !ConsumeAnyWord(&rest, kInsertions)) return;
  if (comma && !absl::ConsumePrefix(&rest, ",")) return;
  *text = rest;
}

// How an answer is announced.
struct Phrase {
  // 0: this is none.
  size_t length = 0;
  // It ends in a colon or an equals sign, or is a heading: the answer may stand on the next line.
  bool reaches_next_line = false;
};

// Whether what stands before "answer" on its line makes the line a heading.
bool OpensHeading(string_view before) {
  before = before.substr(before.size() - std::min(before.size(), kMaxBefore));
  const size_t line_begin = before.rfind('\n');
  if (line_begin != kNone) before.remove_prefix(line_begin + 1);
  before = absl::StripLeadingAsciiWhitespace(before);
  const size_t num_marks = std::min(before.find_first_not_of("#*_ "), before.size());
  if (num_marks == 0) return false;
  before.remove_prefix(num_marks);
  constexpr string_view kWords[] = {"the", "my", "final", "correct"};
  while (ConsumeAnyWord(&before, kWords)) ConsumeBlanks(&before);
  return before.empty();
}

// Whether behind "answer" there is anything that a phrase goes on with. Most that is none is told apart by this alone: a
// megabyte of "answer" is no reason to linger either.
bool MayGoOn(string_view behind) {
  const size_t next = behind.find_first_not_of(" \t");
  if (next == 0 || next == kNone) return true;
  const char c = absl::ascii_tolower(behind[next]);
  if (c == 'a') return next + 1 < behind.size() && absl::ascii_tolower(behind[next + 1]) == 'r';
  return !absl::ascii_isalpha(c) || absl::StrContains("cefhilmostw", string_view(&c, 1));
}

// The phrase at `at`, where an "a" stands that begins a word.
Phrase PhraseAt(string_view text, size_t at) {
  string_view rest = text.substr(at);
  if (!ConsumeIgnoreCase(&rest, "answer")) return {};
  if (absl::StartsWithIgnoreCase(rest, "s")) rest.remove_prefix(1);
  if (!MayGoOn(rest)) return {};
  ConsumeMarks(&rest);
  ConsumeObject(&rest);
  ConsumeMarks(&rest);
  const auto length = [&] { return text.size() - at - rest.size(); };
  string_view behind = rest;
  ConsumeBlanks(&behind);
  if (ConsumeColon(&behind)) {
    rest = behind;
    return {length(), true};
  }
  if (behind.empty() || behind[0] == '\n' || behind[0] == '\r') {
    return OpensHeading(text.substr(0, at)) ? Phrase{length(), true} : Phrase{};
  }
  ConsumeInsertion(&rest);
  constexpr string_view kVerbs[] = {"is", "are", "must be", "should be", "will be", "equals"};
  if (!ConsumeBlanks(&rest) || !ConsumeAnyWord(&rest, kVerbs)) return {};
  // "The answer is: 5".
  behind = rest;
  ConsumeBlanks(&behind);
  const bool has_colon = ConsumeColon(&behind);
  if (has_colon) rest = behind;
  return {length(), has_colon};
}

// What the words before "answer" make of the statement.
enum class Standing { kStated, kSupposed, kTakenBack };

// "if the answer is", "the wrong answer is" and "I do not think that the answer is" state nothing; "or the answer is" and
// "I doubt that the answer is" take back what was stated before, too. Looks no further back than the clause begins.
Standing StandingBehind(string_view before) {
  before = before.substr(before.size() - std::min(before.size(), kMaxBefore));
  const size_t clause = before.find_last_of(",;:.!?\n");
  if (clause != kNone) before.remove_prefix(clause + 1);
  constexpr string_view kBetween[] = {"the",     "my",    "our", "your",  "that",    "this", "final",
                                      "correct", "right", "its", "maybe", "perhaps", "a",    "possibly"};
  constexpr string_view kTakesBack[] = {"or", "otherwise", "unless"};
  constexpr string_view kSupposes[] = {"if",    "whether",   "suppose", "assuming", "assume",
                                       "wrong", "incorrect", "false",   "tempting"};
  constexpr string_view kNegates[] = {"not",      "never", "cannot",    "don't", "can't",   "doesn't", "isn't",
                                      "wouldn't", "wrong", "incorrect", "false", "mistake", "might",   "may"};
  constexpr string_view kNegated[] = {"think", "believe", "true", "sure",    "certain", "clear",      "know",
                                      "say",   "mean",    "be",   "correct", "right",   "necessarily"};
  std::string next;
  bool directly = true;
  for (int num_words = 0; num_words < 6; ++num_words) {
    while (!before.empty() && !absl::ascii_isalpha(before.back())) before.remove_suffix(1);
    size_t begin = before.size();
    while (begin > 0 && (absl::ascii_isalpha(before[begin - 1]) || before[begin - 1] == '\'')) --begin;
    const std::string word = absl::AsciiStrToLower(before.substr(begin));
    before.remove_suffix(before.size() - begin);
    if ((word == "doubt" || word == "doubts") && !absl::EndsWith(before, "no ") && !absl::EndsWith(before, "without "))
      return Standing::kTakenBack;
    if (IsOneOf(word, kNegates) && IsOneOf(next, kNegated)) return Standing::kSupposed;
    if (directly && IsOneOf(word, kTakesBack)) return Standing::kTakenBack;
    if (directly && IsOneOf(word, kSupposes)) return Standing::kSupposed;
    directly = directly && IsOneOf(word, kBetween);
    // "wrong to say".
    if (word != "to") next = word;
  }
  return Standing::kStated;
}

// `text` up to the first full stop, exclamation or question mark that ends a sentence; "3.5" holds none, nor do "5! = 120"
// and "5! ways".
string_view UpToSentenceEnd(string_view text, size_t from) {
  for (size_t i = from; i < text.size(); ++i) {
    const bool is_mark = text[i] == '.' || text[i] == '!' || text[i] == '?';
    // TeX's space.
    const bool is_escaped = i > 0 && text[i - 1] == '\\';
    // "i.e."
    const bool is_abbreviation = i > 1 && text[i] == '.' && text[i - 2] == '.' && absl::ascii_isalpha(text[i - 1]);
    if (!is_mark || is_escaped || is_abbreviation) continue;
    size_t next = i + 1;
    // Bold and quoted sentences end before the mark that closes them.
    while (next < text.size() && absl::StrContains("*_\"'", text.substr(next, 1))) ++next;
    if (next < text.size() && !absl::ascii_isspace(text[next])) continue;
    if (text[i] == '!') {
      const string_view behind = absl::StripLeadingAsciiWhitespace(text.substr(next));
      const bool goes_on =
          !behind.empty() && (absl::ascii_islower(behind[0]) || absl::StrContains("=+-*/^<>)\\", behind.substr(0, 1)));
      if (goes_on) continue;
    }
    return text.substr(0, i);
  }
  return text;
}

// Whether a line holds a value and no words.
bool IsValueLine(string_view line) {
  return line.size() <= kMaxValueLine && !HoldsWord(line) &&
         std::any_of(line.begin(), line.end(), [](char c) { return c == '\\' || absl::ascii_isalnum(c); });
}

// Whether a number, a formula or a choice stands behind the head of `text`.
bool NamesValue(string_view text) {
  for (size_t i = 1; i < text.size(); ++i) {
    const bool is_letter = absl::ascii_isupper(text[i]) && text[i] != 'I' && !absl::ascii_isalnum(text[i - 1]) &&
                           (i + 1 == text.size() || !absl::ascii_isalnum(text[i + 1]));
    if (is_letter || absl::ascii_isdigit(text[i]) || text[i] == '\\' || text[i] == '$') return true;
  }
  return false;
}

// Whether what stands behind the sentence takes it back or names another answer: "Or 73", "Wait", "Maybe 73", "73".
bool IsTakenBackBehind(string_view behind) {
  const size_t begin = std::min(behind.find_first_not_of(" \t\r\n.!*_`\"')}$"), behind.size());
  const bool same_line = !absl::StrContains(behind.substr(0, begin), "\n");
  behind.remove_prefix(begin);
  constexpr string_view kAlways[] = {"or", "alternatively", "wait", "correction", "oops", "sorry", "scratch"};
  string_view rest = behind;
  if (ConsumeAnyWord(&rest, kAlways)) return true;
  if (ConsumeWord(&rest, "no") && rest.find_first_of(",.!:") == 0) return true;
  const string_view next =
      behind.substr(0, std::min({behind.find('\n'), UpToSentenceEnd(behind, 0).size(), kMaxBefore}));
  if (same_line && IsValueLine(next) && !absl::StrContains(next, "=")) return true;
  constexpr string_view kWithValue[] = {"maybe",  "perhaps", "possibly", "otherwise", "actually", "rather",
                                        "hmm",    "else",    "also",     "but",       "though",   "although",
                                        "I mean", "I meant", "it could", "it might",  "could be", "might be"};
  rest = behind;
  return (absl::StartsWith(behind, "and ") || ConsumeAnyWord(&rest, kWithValue)) && NamesValue(next);
}

// Whether `text` is one formula and nothing else, so that its own full stops end no sentence.
bool IsOneFormula(string_view text) {
  text = absl::StripAsciiWhitespace(text);
  const string_view trimmed = math::TrimDecoration(text);
  if (trimmed.empty() || trimmed.data() == text.data()) return false;
  const char before = trimmed.data()[-1];
  return before == '$' || before == '(' || before == '[';
}

// Where the statement begins in `behind`, the text behind the phrase.
size_t StatementBegin(string_view behind, bool reaches_next_line) {
  const size_t end = behind.find_first_not_of(" \t\r*_}`");
  if (end == kNone || behind[end] != '\n') return 0;
  size_t begin = behind.find_first_not_of(" \t\r\n", end);
  constexpr string_view kFence = "```";
  if (begin != kNone && absl::StartsWith(behind.substr(begin), kFence)) {
    begin = behind.find_first_not_of(" \t\r\n", std::min(behind.find('\n', begin), behind.size()));
  }
  if (begin == kNone) return end;
  // A list's mark. "- 5" may be a negative number.
  for (const string_view bullet : {"* ", "\u2022 "}) {
    if (absl::StartsWith(behind.substr(begin), bullet)) begin += bullet.size();
  }
  const string_view statement = behind.substr(begin);
  const bool is_formula = absl::StartsWith(statement, "$$") || absl::StartsWith(statement, "\\[");
  return reaches_next_line || is_formula ? begin : end;
}

// The end of the formula that `text` begins with over several lines: 0 when there is none, kNone when it never closes.
size_t DisplayEnd(string_view text) {
  const string_view close = absl::StartsWith(text, "$$") ? "$$" : absl::StartsWith(text, "\\[") ? "\\]" : "";
  if (close.empty()) return 0;
  const size_t end = text.find(close, 2);
  return end == kNone ? kNone : end + close.size();
}

// The values on the lines directly below.
void AppendValueLines(string_view below, std::vector<std::string>* parts) {
  while (absl::ConsumePrefix(&below, "\n") && parts->size() < kMaxParts) {
    const string_view line = absl::StripAsciiWhitespace(below.substr(0, below.find('\n')));
    if (line.empty() || !IsValueLine(line)) return;
    parts->emplace_back(TrimmedAnswer(line));
    below.remove_prefix(std::min(below.find('\n'), below.size()));
  }
}

// What is stated behind a phrase.
Statement StatementBehind(string_view behind, bool reaches_next_line) {
  string_view text = behind.substr(StatementBegin(behind, reaches_next_line));
  const size_t formula = std::min(text.find_first_not_of(" \t\r"), text.size());
  // "Answer:", and the first of several steps below.
  const bool is_step = absl::StartsWith(text.substr(formula), "1. ") || absl::StartsWith(text.substr(formula), "1) ");
  if (is_step && text.data() != behind.data()) return {};
  const size_t display_end = DisplayEnd(text.substr(formula));
  if (display_end == kNone) return {};
  const size_t formula_end = display_end == 0 ? 0 : formula + display_end;
  const string_view line = text.substr(0, text.find('\n', formula_end));
  const string_view sentence = IsOneFormula(line) ? line : UpToSentenceEnd(line, formula_end);
  const string_view after = text.substr(sentence.size());
  if (absl::StartsWith(after, "?") || IsTakenBackBehind(after)) return {};
  Statement statement{sentence, {WithoutExplanation(sentence)}};
  if (absl::StripAsciiWhitespace(line.substr(sentence.size())).size() <= 1) {
    AppendValueLines(text.substr(line.size()), &statement.parts);
  }
  if (statement.parts[0].empty()) return {};
  return statement;
}

}  // namespace

std::optional<Statement> LastStatement(string_view text) {
  for (size_t at = text.size(); at-- > 0;) {
    // The second letter is looked at first: a megabyte of "a" is no reason to linger.
    if (absl::ascii_tolower(text[at]) != 'a' || at + 1 == text.size() || absl::ascii_tolower(text[at + 1]) != 'n')
      continue;
    if (at > 0 && absl::ascii_isalnum(text[at - 1])) continue;
    const Phrase phrase = PhraseAt(text, at);
    if (phrase.length == 0) continue;
    const Standing standing = StandingBehind(text.substr(0, at));
    if (standing == Standing::kTakenBack) return Statement{};
    if (standing == Standing::kSupposed) continue;
    return StatementBehind(text.substr(at + phrase.length), phrase.reaches_next_line);
  }
  return std::nullopt;
}

}  // namespace grpo
