#include "reward/explanation.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "reward/math/equal.h"
#include "reward/math/text.h"
#include "reward/sentence.h"
#include "reward/words.h"

namespace grpo {
namespace {

using absl::string_view;
constexpr size_t kNone = string_view::npos;
// Bytes of a sentence that is searched for clauses, and of what is compared with a parenthesis.
constexpr size_t kMaxSentence = 4096, kMaxCompared = 200;
// Clauses and parentheses of one sentence.
constexpr int kMaxCuts = 4;

// A sentence and what its words may do to what is stated before them.
class Sentence {
 public:
  // `may_compare` allows one comparison, and is false behind it: a comparison takes longer than all the rest.
  Sentence(string_view text, bool* may_compare)
      : text_(text), pieces_(SplitSentence(text)), may_compare_(*may_compare) {
    for (size_t i = 0; i < pieces_.size(); ++i) {
      if (Hedges(i)) last_hedge_ = i + 1;
      if (pieces_[i].kind == Piece::kValue) last_value_ = i + 1;
    }
    for (size_t i = last_hedge_; i < last_value_; ++i) {
      if (IsConclusion(pieces_[i].word)) last_hedge_ = i + 1;
    }
  }

  // The sentence without its first clause or parenthesis that may go; absent when there is none.
  std::optional<std::string> Cut() const {
    bool has_value = false;
    for (size_t i = 0; i < pieces_.size(); ++i) {
      if (i > 0 && pieces_[i].depth == 0) {
        if (IsClause(i, has_value)) return std::string(text_.substr(0, pieces_[i].begin));
        if (has_value && pieces_[i].kind == Piece::kOpen) {
          std::optional<std::string> rest = WithoutParenthesis(i);
          if (rest.has_value()) return rest;
        }
      }
      has_value = has_value || pieces_[i].kind == Piece::kValue;
    }
    return std::nullopt;
  }

 private:
  const std::string& WordAt(size_t i) const {
    static const auto& none = *new std::string();
    return i < pieces_.size() && pieces_[i].kind == Piece::kWord ? pieces_[i].word : none;
  }

  string_view TextOf(size_t i) const { return text_.substr(pieces_[i].begin, pieces_[i].end - pieces_[i].begin); }

  // Whether the piece takes back, widens or changes what is stated, or states another value: "since the total is 73".
  bool Hedges(size_t i) const {
    const Piece& piece = pieces_[i];
    if (piece.kind == Piece::kValue) {
      const bool restates =
          i > 0 && IsOneOf(pieces_[i - 1].word, {"is", "be", "get", "gets", "becomes", "gives", "makes", "equals"});
      return restates && absl::ascii_isdigit(TextOf(i)[0]) && TextOf(i) != FirstValue();
    }
    const bool goes_on = piece.word == "so" && IsOneOf(WordAt(i + 1), {"on", "forth"});
    // The month is none.
    return goes_on || IsHedge(piece.word) || (piece.word == "may" && !piece.is_capital);
  }

  string_view FirstValue() const {
    const auto first =
        std::find_if(pieces_.begin(), pieces_.end(), [](const Piece& piece) { return piece.kind == Piece::kValue; });
    return first == pieces_.end() ? "" : TextOf(first - pieces_.begin());
  }

  // Whether the pieces from `i` are a clause that explains what stands before it.
  bool IsClause(size_t i, bool has_value) const {
    const bool is_apart = pieces_[i].kind == Piece::kComma || pieces_[i].kind == Piece::kDash;
    if (RejectsAnother(is_apart ? i + 1 : i)) return true;
    if (i < last_hedge_ || WordAt(i - 1) == "and") return false;
    const std::string& word = WordAt(is_apart ? i + 1 : i);
    if (word.empty()) return false;
    const std::string& next = WordAt(is_apart ? i + 2 : i + 1);
    if (GivesReason(is_apart ? i + 1 : i, is_apart)) return true;
    if (i < last_value_) return false;
    // "25 percent of the total".
    const bool is_percent = IsOneOf(WordAt(i - 1), {"percent", "percentage"}) ||
                            (WordAt(i - 1) == "cent" && i > 1 && WordAt(i - 2) == "per") ||
                            absl::EndsWith(text_.substr(0, pieces_[i - 1].end), "%");
    const bool is_sum = (!is_apart && word == "of" && is_percent) ||
                        (IsOneOf(word, {"in", "all"}) && IsOneOf(next, {"total", "all", "told"}));
    if (is_sum || IsConnective(word)) return true;
    if (!is_apart) return false;
    if (word == "and") return IsOneOf(next, {"that", "this", "it", "we", "he", "she", "they", "you", "i", "there"});
    // "72, all told", but not "72, in cm", "5 - the discount", "72, Monday".
    const string_view mark = TextOf(i);
    const bool may_be_minus = mark == "-" || mark == "\u2013";
    return has_value && !may_be_minus && word != "in" && !pieces_[i + 1].is_capital && !next.empty() && !HasAnd(i);
  }

  // Whether a reason begins at `i`; behind a comma or a dash also "as 48 + 24 = 72", but never "as well as 73".
  bool GivesReason(size_t i, bool is_apart) const {
    if (i + 1 >= pieces_.size() || !IsReason(WordAt(i))) return false;
    if (WordAt(i) != "as") return true;
    const std::string& next = WordAt(i + 1);
    if (IsOneOf(next, {"it", "we", "he", "she", "they", "there", "required", "desired", "expected"})) return true;
    const bool is_equation = next.empty() && absl::StrContains(text_.substr(pieces_[i].begin), "=");
    return is_apart && (is_equation || IsOneOf(next, {"the", "this", "that", "each", "all", "both", "a", "an"}));
  }

  // "not 73", "rather than 73", to the end.
  bool RejectsAnother(size_t i) const {
    if (WordAt(i) == "and" && WordAt(i + 1) == "not") ++i;
    const bool is_comparison =
        (WordAt(i) == "rather" && WordAt(i + 1) == "than") || (WordAt(i) == "instead" && WordAt(i + 1) == "of");
    if (WordAt(i) != "not" && !is_comparison) return false;
    const size_t value = is_comparison ? i + 2 : i + 1;
    return value < pieces_.size() && std::all_of(pieces_.begin() + value, pieces_.end(),
                                                 [](const Piece& piece) { return piece.kind == Piece::kValue; });
  }

  bool HasAnd(size_t from) const {
    return std::any_of(pieces_.begin() + from, pieces_.end(), [](const Piece& piece) { return piece.word == "and"; });
  }

  // The sentence without the parenthesis that opens at piece `open`; absent when it may change what is stated.
  std::optional<std::string> WithoutParenthesis(size_t open) const {
    size_t close = open + 1;
    while (close < pieces_.size() && pieces_[close].depth > pieces_[open].depth) ++close;
    const bool is_closed = close < pieces_.size() && pieces_[close].kind == Piece::kClose;
    const bool is_apart = absl::ascii_isspace(text_[pieces_[open].begin - 1]);
    if (!is_closed || !is_apart || text_[pieces_[open].begin] != '(') return std::nullopt;
    const size_t behind = pieces_[close].end;
    const bool goes_on = close + 1 < pieces_.size() &&
                         (pieces_[close + 1].kind == Piece::kValue || pieces_[close + 1].kind == Piece::kOpen);
    if (goes_on) return std::nullopt;
    const std::optional<std::string> unit = UnitIn(open, close);
    if (!unit.has_value()) return std::nullopt;
    return absl::StrCat(absl::StripTrailingAsciiWhitespace(text_.substr(0, pieces_[open].begin)), *unit,
                        text_.substr(behind));
  }

  // What stays of a parenthesis: the word that may be a unit, mostly nothing; absent when all of it must.
  std::optional<std::string> UnitIn(size_t open, size_t close) const {
    if (close == open + 1) return std::nullopt;
    bool has_value = false, has_hedge = false;
    for (size_t i = open + 1; i < close; ++i) {
      has_value = has_value || pieces_[i].kind == Piece::kValue;
      has_hedge = has_hedge || Hedges(i);
    }
    if (!has_hedge && GivesReason(open + 1, /*is_apart=*/true) && (!has_value || !HasConclusion(open, close)))
      return "";
    if (has_value) return EqualsHead(open, close) ? std::make_optional<std::string>() : std::nullopt;
    if (has_hedge) return std::nullopt;
    const size_t first = WordAt(open + 1) == "in" ? open + 2 : open + 1;
    return first + 1 == close ? absl::StrCat(" ", TextOf(first)) : "";
  }

  bool HasConclusion(size_t begin, size_t end) const {
    return std::any_of(pieces_.begin() + begin, pieces_.begin() + end,
                       [](const Piece& piece) { return IsConclusion(piece.word); });
  }

  bool EqualsHead(size_t open, size_t close) const {
    const string_view head = absl::StripTrailingAsciiWhitespace(text_.substr(0, pieces_[open].begin));
    string_view inside = text_.substr(pieces_[open].end, pieces_[close].begin - pieces_[open].end);
    for (const string_view lead : {"or ", "i.e.", "that is", "which is", "equivalently", ",", "="}) {
      absl::ConsumePrefix(&inside, lead);
      inside = absl::StripAsciiWhitespace(inside);
    }
    // "3 (3)" may be a product.
    return std::exchange(may_compare_, false) && inside != head &&
           std::max(head.size(), inside.size()) <= kMaxCompared && math::Equal(head, inside).equal.value_or(false);
  }

  const string_view text_;
  const std::vector<Piece> pieces_;
  bool& may_compare_;
  // One behind the last piece that takes back, widens or changes, and the last that is a value; 0 without one.
  size_t last_hedge_ = 0, last_value_ = 0;
};

// Whether the bold mark at `at` opens, closes, or is none (a power).
enum class Bold { kNone, kOpen, kClose };
Bold BoldAt(string_view text, size_t at, size_t length) {
  const bool starts = at == 0 || absl::StrContains(" \t\n(", text.substr(at - 1, 1));
  const bool ends = at + length >= text.size() || absl::StrContains(" \t\n).,;:!?", text.substr(at + length, 1));
  if (starts == ends) return Bold::kNone;
  return starts ? Bold::kOpen : Bold::kClose;
}

// `text` without Markdown's `mark` around words, when each that opens is closed; the first may have opened before.
std::string WithoutMarks(string_view text, string_view mark) {
  std::string plain;
  int depth = 0;
  size_t from = 0;
  bool is_first = true;
  for (size_t at = text.find(mark); at != kNone; at = text.find(mark, at + mark.size())) {
    const Bold bold = BoldAt(text, at, mark.size());
    if (bold == Bold::kNone) continue;
    depth += bold == Bold::kOpen ? 1 : -1;
    if (is_first && depth == -1) depth = 0;
    is_first = false;
    if (depth != 0 && depth != 1) return std::string(text);
    absl::StrAppend(&plain, text.substr(from, at - from));
    from = at + mark.size();
  }
  return depth == 0 ? absl::StrCat(plain, text.substr(from)) : std::string(text);
}

// `text` without "therefore" and the like at its head.
string_view WithoutLead(string_view text) {
  constexpr string_view kLeads[] = {"therefore", "thus",       "hence",       "then",      "so",        "simply",
                                    "just",      "clearly",    "indeed",      "exactly",   "obviously", "finally",
                                    "equal to",  "given by",   "now",         "in fact",   "precisely", "of course",
                                    "certainly", "definitely", "found to be", "as follows"};
  for (bool found = true; found;) {
    found = false;
    for (const string_view lead : kLeads) {
      const bool fits = absl::StartsWithIgnoreCase(text, lead) && text.size() > lead.size() &&
                        absl::StrContains(" \t\n,:", text.substr(lead.size(), 1));
      if (!fits) continue;
      text = TrimmedAnswer(text.substr(lead.size()));
      found = true;
    }
  }
  return text;
}

}  // namespace

string_view TrimmedAnswer(string_view text) {
  // Braces that close what began before the sentence.
  text = absl::StripAsciiWhitespace(text);
  while (absl::ConsumePrefix(&text, "}")) text = absl::StripLeadingAsciiWhitespace(text);
  const auto num_open = std::count(text.begin(), text.end(), '{');
  for (auto num_close = std::count(text.begin(), text.end(), '}'); num_close > num_open; --num_close) {
    if (!absl::ConsumeSuffix(&text, "}")) break;
  }
  for (size_t size = text.size() + 1; text.size() < size;) {
    size = text.size();
    for (const string_view lead : {":", "\\quad", "\\qquad"}) absl::ConsumePrefix(&text, lead);
    absl::ConsumeSuffix(&text, ":");
    text = math::TrimDecoration(text);
  }
  return text;
}

std::string WithoutExplanation(string_view sentence) {
  if (sentence.size() > kMaxSentence) return std::string(TrimmedAnswer(sentence));
  std::string text(absl::StripAsciiWhitespace(sentence));
  for (const string_view mark : {"**", "__"}) text = WithoutMarks(text, mark);
  for (const string_view mark : {"*", "_"}) {
    if (absl::StartsWith(text, mark)) text = WithoutMarks(text, mark);
  }
  text = std::string(WithoutLead(TrimmedAnswer(text)));
  bool may_compare = true;
  for (int round = 0; round < kMaxCuts; ++round) {
    const std::optional<std::string> cut = Sentence(text, &may_compare).Cut();
    if (!cut.has_value()) break;
    text = std::string(TrimmedAnswer(*cut));
  }
  return text;
}

}  // namespace grpo
