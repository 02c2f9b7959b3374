#include "reward/choice_token.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"

namespace grpo {
namespace {

using absl::string_view;

// What is a mark of quotation below. No text holds it: it is replaced by a blank.
constexpr char kQuote = '\x01';

struct Spelling {
  string_view from, to;
};
constexpr Spelling kPunctuation[] = {
    {"\uff0c", ", "},   {"\u3001", ", "},   {"\u3002", ". "},   {"\uff0e", ". "},   {"\uff1a", ": "},
    {"\uff1b", "; "},   {"\uff01", "! "},   {"\uff1f", "? "},   {"\uff08", "("},    {"\uff09", ")"},
    {"\u2019", "'"},    {"\u2014", " - "},  {"\u2013", " - "},  {"\u00a0", " "},    {"\u202f", " "},
    {"\u3000", " "},    {"\u201c", "\x01"}, {"\u201d", "\x01"}, {"\u2018", "\x01"}, {"\u300c", "\x01"},
    {"\u300d", "\x01"}, {"\u3010", "("},    {"\u3011", ")"},
};

// Commands whose argument is what they stand for.
bool IsWrapper(string_view command) {
  constexpr string_view kOthers[] = {"mbox",      "hbox",       "boxed", "fbox",        "emph",
                                     "underline", "boldsymbol", "bm",    "operatorname"};
  return absl::StartsWith(command, "text") || (absl::StartsWith(command, "math") && command != "mathbb") ||
         std::find(std::begin(kOthers), std::end(kOthers), command) != std::end(kOthers);
}

bool IsLayout(string_view command) {
  constexpr string_view kAll[] = {"quad", "qquad", "left", "right", "rm", "bf", "it", "tt", "displaystyle", "space"};
  return std::find(std::begin(kAll), std::end(kAll), command) != std::end(kAll);
}

// The text with kQuote for what quotes, a blank for TeX's spaces, "=" for its commands of mathematics, ";" for the end of
// a line.
std::string Plain(string_view text) {
  std::string plain;
  while (!text.empty()) {
    const auto take = [&](size_t length, string_view as) {
      text.remove_prefix(length);
      plain.append(as.data(), as.size());
    };
    const auto* found = std::find_if(std::begin(kPunctuation), std::end(kPunctuation),
                                     [&](const Spelling& spelling) { return absl::StartsWith(text, spelling.from); });
    const bool is_bold = absl::StartsWith(text, "**") || absl::StartsWith(text, "__");
    if (found != std::end(kPunctuation)) {
      take(found->from.size(), found->to);
    } else if (text[0] == '\\') {
      size_t length = 1;
      while (length < text.size() && absl::ascii_isalpha(text[length])) ++length;
      const string_view command = text.substr(1, length - 1);
      const bool is_space = command.empty() && text.size() > 1 && absl::StrContains(",;:! \\", text.substr(1, 1));
      const bool is_quote = command.empty() && text.size() > 1 && absl::StrContains("()[]", text.substr(1, 1));
      length = std::min(std::max<size_t>(length, 2), text.size());
      take(length, is_space || IsLayout(command) ? " " : is_quote || IsWrapper(command) ? "\x01" : "=");
    } else if (is_bold || absl::StrContains("$`\"{}", text.substr(0, 1))) {
      take(is_bold ? 2 : 1, "\x01");
    } else if (text[0] == '*' || text[0] == '_') {
      // Around words, not between two factors.
      const bool joins =
          !plain.empty() && absl::ascii_isalnum(plain.back()) && text.size() > 1 && absl::ascii_isalnum(text[1]);
      const bool is_loose = text.size() > 1 && absl::ascii_isspace(text[1]) && !plain.empty() && plain.back() == ' ';
      take(1, joins || is_loose ? "=" : "\x01");
    } else {
      const char c = text[0] == kQuote ? ' ' : text[0];
      take(1, c == '\n' ? " ; " : string_view(&c, 1));
    }
  }
  return plain;
}

bool IsWordByte(char c) {
  return absl::ascii_isalnum(c) || !absl::ascii_isascii(c);
}

class Tokenizer {
 public:
  explicit Tokenizer(string_view text) : text_(text) {}

  std::vector<ChoiceToken> Run() {
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (absl::ascii_isspace(c) || c == kQuote) {
        is_spaced_ = is_spaced_ || c != kQuote;
        ++at_;
      } else if (IsWordByte(c)) {
        Word();
      } else {
        const bool is_mark = absl::StrContains(".,;:?!()[]-/&'#~", string_view(&c, 1));
        Add(is_mark ? ChoiceToken::kMark : ChoiceToken::kOperator, 1);
        if (c == ')' || c == ']') CloseBracket();
      }
    }
    return std::move(tokens_);
  }

 private:
  void Add(ChoiceToken::Kind kind, size_t length) {
    tokens_.push_back({.kind = kind,
                       .text = std::string(text_.substr(at_, length)),
                       .is_capital = absl::ascii_isupper(text_[at_]),
                       .is_spaced = std::exchange(is_spaced_, false)});
    at_ += length;
  }

  void Word() {
    size_t end = at_;
    while (end < text_.size()) {
      if (IsWordByte(text_[end])) {
        ++end;
        continue;
      }
      // "isn't", "B-flat", "U.S.", "3.5", but not "B.Paris".
      const bool goes_on = end + 1 < text_.size() && IsWordByte(text_[end + 1]);
      const bool is_short = end + 2 == text_.size() || (end + 2 < text_.size() && !IsWordByte(text_[end + 2]));
      const bool is_initial = end == at_ + 1 || text_[end - 2] == '.';
      const bool is_point = text_[end] == '.' || text_[end] == ',';
      const bool joins =
          text_[end] == '\'' || text_[end] == '-' || (text_[end] == '.' && is_initial && is_short) ||
          (is_point && absl::ascii_isdigit(text_[end - 1]) && goes_on && absl::ascii_isdigit(text_[end + 1]));
      if (!goes_on || !joins) break;
      ++end;
    }
    const bool is_letter = end == at_ + 1 && absl::ascii_isalpha(text_[at_]);
    const bool is_quoted = at_ > 0 && text_[at_ - 1] == kQuote && end < text_.size() && text_[end] == kQuote;
    const bool is_number = absl::ascii_isdigit(text_[at_]);
    Add(is_letter ? ChoiceToken::kLetter : is_number ? ChoiceToken::kNumber : ChoiceToken::kWord, end - at_);
    tokens_.back().is_quoted = is_quoted;
    if (!is_letter) absl::AsciiStrToLower(&tokens_.back().text);
  }

  // "(", letter, ")" are one token.
  void CloseBracket() {
    const size_t n = tokens_.size();
    if (n < 3 || tokens_[n - 2].kind != ChoiceToken::kLetter) return;
    if (!tokens_[n - 3].IsMark('(') && !tokens_[n - 3].IsMark('[')) return;
    ChoiceToken letter = tokens_[n - 2];
    letter.is_bracketed = true;
    letter.is_spaced = tokens_[n - 3].is_spaced;
    tokens_.resize(n - 3);
    // "f(A)" is none.
    const bool is_argument = !letter.is_spaced && !tokens_.empty() && tokens_.back().kind == ChoiceToken::kLetter &&
                             !tokens_.back().is_bracketed;
    if (is_argument) {
      tokens_.back() = {.kind = ChoiceToken::kOperator, .text = "="};
      return;
    }
    tokens_.push_back(std::move(letter));
  }

  const string_view text_;
  size_t at_ = 0;
  bool is_spaced_ = false;
  std::vector<ChoiceToken> tokens_;
};

}  // namespace

std::vector<ChoiceToken> TokenizeChoices(string_view text) {
  return Tokenizer(Plain(text)).Run();
}

}  // namespace grpo
