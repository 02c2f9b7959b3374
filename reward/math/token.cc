#include "reward/math/token.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "reward/math/spelling.h"
#include "reward/math/text.h"

namespace grpo::math {
namespace {

using absl::ascii_isalpha;
using absl::ascii_isdigit;
using absl::string_view;

// What two or three characters of plain text stand for.
struct Digraph {
  string_view from;
  TokenKind kind;
  string_view to;
};
constexpr Digraph kDigraphs[] = {
    {"+/-", TokenKind::kCommand, "pm"},    {"...", TokenKind::kCommand, "ldots"},
    {"<=>", TokenKind::kCommand, "iff"},   {"<=", TokenKind::kCommand, "leq"},
    {"=<", TokenKind::kCommand, "leq"},    {">=", TokenKind::kCommand, "geq"},
    {"!=", TokenKind::kCommand, "neq"},    {"=>", TokenKind::kCommand, "Rightarrow"},
    {"->", TokenKind::kCommand, "to"},     {"==", TokenKind::kSymbol, "="},
    {"**", TokenKind::kSymbol, "^"},       {"+-", TokenKind::kCommand, "pm"},
    {"~=", TokenKind::kCommand, "approx"}, {"||", TokenKind::kSymbol, "|"},
    {"--", TokenKind::kOther, "--"},
};

// Bare dollars in pairs surround formulas; an odd one is money.
bool DollarsAreDelimiters(string_view text) {
  size_t num_dollars = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '$') {
      ++num_dollars;
    }
  }
  return num_dollars % 2 == 0;
}

class Lexer {
 public:
  explicit Lexer(string_view text) : rest_(text), drop_dollars_(DollarsAreDelimiters(text)) {}

  std::vector<Token> Run() {
    while (!rest_.empty()) {
      if (absl::ascii_isspace(rest_[0]) || rest_[0] == '~') {
        // "~=" is no blank.
        if (!absl::StartsWith(rest_, "~=")) {
          Blank(1);
          continue;
        }
      }
      const size_t number_length = NumberLength();
      if (number_length > 0) {
        LexNumber();
      } else if (ascii_isalpha(rest_[0])) {
        LexWord();
      } else if (rest_[0] == '\\') {
        LexCommand();
      } else {
        LexSymbol();
      }
    }
    // A wrapper that never closes is the fault it is.
    for (const Brace& brace : braces_) {
      if (!brace.emits) Emit(TokenKind::kOther, "{");
    }
    return std::move(tokens_);
  }

 private:
  void Blank(size_t length) {
    rest_.remove_prefix(length);
    spaced_ = true;
  }

  void Emit(TokenKind kind, string_view text) {
    tokens_.push_back({kind, std::string(text.data(), text.size()), spaced_, text_depth_ > 0});
    spaced_ = false;
  }

  bool AfterScript() const {
    return !tokens_.empty() && (tokens_.back().IsSymbol('^') || tokens_.back().IsSymbol('_'));
  }

  // 1 at a number's first character, else 0.
  size_t NumberLength() const {
    if (ascii_isdigit(rest_[0])) return 1;
    return rest_[0] == '.' && rest_.size() > 1 && ascii_isdigit(rest_[1]) ? 1 : 0;
  }

  size_t NumDigits(size_t from) const {
    size_t end = from;
    while (end < rest_.size() && ascii_isdigit(rest_[end])) ++end;
    return end - from;
  }

  // Length of a separator of thousands at `from` that exactly three digits follow; 0 when there is none.
  size_t ThousandsSeparator(size_t from) const {
    size_t length = 0;
    const string_view rest = rest_.substr(from);
    for (const string_view separator : {",\\!", "{,}", "{, }", " {, }", "\\,", "\\;", "\\ ", ",", " "}) {
      if (!absl::StartsWith(rest, separator)) continue;
      length = separator.size();
      break;
    }
    if (length == 0 || (rest[0] == ',' && bracket_depth_ > 0)) return 0;
    if (absl::StartsWith(rest, ",\\!")) {
      while (length < rest.size() && rest[length] == ' ') ++length;
    }
    if (NumDigits(from + length) != 3) return 0;
    const string_view behind = rest.substr(length + 3);
    // "2 100/3" is a mixed number, "1 000.5" one number.
    if (rest[0] == ' ' && (absl::StartsWith(behind, "/") || bracket_depth_ > 0)) return 0;
    return length;
  }

  // 0x1F, 0b101, as a decimal number; false when it is none.
  bool LexPrefixedNumber() {
    const bool is_hexadecimal = absl::StartsWith(rest_, "0x");
    if (!is_hexadecimal && !absl::StartsWith(rest_, "0b")) return false;
    const string_view allowed = is_hexadecimal ? "0123456789abcdefABCDEF" : "01";
    const size_t end = std::min(rest_.find_first_not_of(allowed, 2), rest_.size());
    const bool ends = end == rest_.size() || !absl::ascii_isalnum(rest_[end]);
    if (end < 4 || end > 17 || !ends) return false;
    Emit(TokenKind::kNumber,
         absl::StrCat(std::stoull(std::string(rest_.substr(2, end - 2)), nullptr, is_hexadecimal ? 16 : 2)));
    rest_.remove_prefix(end);
    return true;
  }

  void LexNumber() {
    if (LexPrefixedNumber()) return;
    size_t at = NumDigits(0);
    std::string digits(rest_.data(), at);
    if (at >= 1 && at <= 3 && digits[0] != '0' && !AfterScript()) {
      for (size_t separator; (separator = ThousandsSeparator(at)) > 0; at += separator + 3) {
        digits.append(rest_.data() + at + separator, 3);
      }
    }
    if (at + 1 < rest_.size() && rest_[at] == '.' && ascii_isdigit(rest_[at + 1])) {
      const size_t length = 1 + NumDigits(at + 1);
      digits.append(rest_.data() + at, length);
      at += length;
    } else if (at < rest_.size() && rest_[at] == '.' && !absl::StartsWith(rest_.substr(at), "..")) {
      // "5." is 5, but the point of "0.\overline{3}" and of "0.(3)" belongs to the number.
      ++at;
      const string_view behind = rest_.substr(at);
      if (absl::StartsWith(behind, "\\overline") || absl::StartsWith(behind, "\\bar") ||
          absl::StartsWith(behind, "(")) {
        digits += '.';
      }
    }
    if (at < rest_.size() && (rest_[at] == 'e' || rest_[at] == 'E')) {
      const size_t sign = at + 1 < rest_.size() && (rest_[at + 1] == '-' || rest_[at + 1] == '+') ? 1 : 0;
      const size_t num_digits = NumDigits(at + 1 + sign);
      if (num_digits > 0) {
        absl::StrAppend(&digits, "e", rest_.substr(at + 1, sign + num_digits));
        at += 1 + sign + num_digits;
      }
    }
    // "1\frac12" is a mixed number, x^12 is x^{12}; LaTeX's x^12 as x^1 2 is nobody's meaning.
    Emit(TokenKind::kNumber, digits);
    rest_.remove_prefix(at);
  }

  void LexWord() {
    size_t length = 1;
    while (length < rest_.size() && ascii_isalpha(rest_[length])) ++length;
    const string_view word = rest_.substr(0, length);
    const string_view command = CommandOfWord(word);
    if (command.empty()) {
      Emit(TokenKind::kWord, word);
    } else {
      Emit(TokenKind::kCommand, command);
    }
    rest_.remove_prefix(length);
  }

  // The argument in braces at the cursor, which goes behind it; empty when there is none.
  string_view BraceArgument() {
    const string_view behind = absl::StripLeadingAsciiWhitespace(rest_);
    if (!absl::StartsWith(behind, "{")) return {};
    const size_t close = behind.find('}');
    if (close == string_view::npos) return {};
    rest_ = behind.substr(close + 1);
    return behind.substr(1, close - 1);
  }

  void LexCommand() {
    size_t length = 1;
    while (length < rest_.size() && ascii_isalpha(rest_[length])) ++length;
    if (length == 1) {
      LexEscape();
      return;
    }
    string_view name = rest_.substr(1, length - 1);
    // A lost blank: "\\cotx", "\\quadx".
    for (const string_view glued : {"quad", "qquad", "sin", "cos", "tan", "cot", "log", "ln", "cdot", "times", "pm"}) {
      if (name.size() == glued.size() + 1 && absl::StartsWith(name, glued) && name.back() != 'h' &&
          name.back() != 'g') {
        name = glued;
        --length;
        break;
      }
    }
    rest_.remove_prefix(length);
    if (name == "begin" || name == "end") {
      const string_view environment = BraceArgument();
      if (absl::StartsWith(environment, "array") && name == "begin") BraceArgument();
      Emit(name == "begin" ? TokenKind::kBegin : TokenKind::kEnd, environment);
    } else if (name == "mathbb" || name == "Bbb" || name == "mathbf") {
      LexBlackboard(name);
    } else if (IsWrapperCommand(name)) {
      OpenWrapper(name);
    } else if (IsLayoutCommand(name)) {
      LexLayout(name);
    } else {
      LexNamedCommand(CommandSynonym(name));
    }
  }

  void LexNamedCommand(string_view name) {
    if (name.size() == 1 && !ascii_isalpha(name[0]) && name != "{" && name != "}" && name != "\\") {
      Emit(TokenKind::kSymbol, name);
    } else if (name == "circ" && !tokens_.empty() && tokens_.back().IsSymbol('^')) {
      tokens_.pop_back();
      Emit(TokenKind::kCommand, "circ");
    } else if (name == "prime" && !tokens_.empty() && tokens_.back().IsSymbol('^')) {
      tokens_.pop_back();
      Emit(TokenKind::kSymbol, "'");
    } else {
      Emit(TokenKind::kCommand, name);
    }
  }

  void LexLayout(string_view name) {
    spaced_ = true;
    // "\left." is a delimiter that is not there.
    if ((name == "left" || name == "right") && absl::StartsWith(rest_, ".")) rest_.remove_prefix(1);
    if (name == "tag") BraceArgument();
  }

  void LexBlackboard(string_view name) {
    const string_view before = rest_;
    string_view letter = BraceArgument();
    if (letter.empty() && !before.empty()) {
      rest_ = absl::StripLeadingAsciiWhitespace(before);
      letter = rest_.substr(0, 1);
      rest_.remove_prefix(letter.size());
    }
    const string_view set = letter == "R"   ? "reals"
                            : letter == "Z" ? "integers"
                            : letter == "N" ? "naturals"
                            : letter == "Q" ? "rationals"
                            : letter == "C" ? "complexes"
                                            : "";
    if (!set.empty()) {
      Emit(TokenKind::kCommand, set);
      return;
    }
    rest_ = before;
    OpenWrapper(name);
  }

  void OpenWrapper(string_view name) {
    const string_view behind = absl::StripLeadingAsciiWhitespace(rest_);
    spaced_ = true;
    if (!absl::StartsWith(behind, "{")) return;
    rest_ = behind.substr(1);
    const bool is_text = name != "boxed" && name != "fbox" && name != "boldsymbol" && name != "bm";
    const bool emits = AfterScript();
    if (emits) Emit(TokenKind::kSymbol, "{");
    braces_.push_back({emits, is_text});
    text_depth_ += is_text;
  }

  // A backslash and one character that is no letter.
  void LexEscape() {
    const string_view escape = rest_.substr(1, 1);
    rest_.remove_prefix(1 + escape.size());
    if (escape == "\\" && !rest_.empty() && ascii_isalpha(rest_[0])) {
      // Twice escaped, as in JSON: "\\\\frac". A row that begins with a name is none of a command.
      size_t length = 1;
      while (length < rest_.size() && ascii_isalpha(rest_[length])) ++length;
      if (IsKnownCommand(rest_.substr(0, length))) {
        rest_ = string_view(rest_.data() - 1, rest_.size() + 1);
        LexCommand();
        return;
      }
    }
    if (escape.empty()) {
      Emit(TokenKind::kOther, "\\");
    } else if (escape == "{" || escape == "}" || escape == "\\") {
      bracket_depth_ += escape == "{" ? 1 : escape == "}" ? -1 : 0;
      Emit(TokenKind::kCommand, escape);
    } else if (absl::StrContains("$%|#&_", escape)) {
      Emit(TokenKind::kSymbol, escape);
    } else if (absl::StrContains("()[]", escape)) {
      // A formula's delimiters.
      spaced_ = true;
    } else if (escape == "!") {
      rest_ = absl::StripLeadingAsciiWhitespace(rest_);
    } else if (absl::StrContains(",;:> /\n\t", escape)) {
      spaced_ = true;
    } else {
      Emit(TokenKind::kOther, escape);
    }
  }

  void LexSymbol() {
    for (const Digraph& digraph : kDigraphs) {
      if (!absl::ConsumePrefix(&rest_, digraph.from)) continue;
      Emit(digraph.kind, digraph.to);
      return;
    }
    const string_view symbol = rest_.substr(0, 1);
    rest_.remove_prefix(1);
    switch (symbol[0]) {
      case '{':
        braces_.push_back({true, false});
        Emit(TokenKind::kSymbol, symbol);
        return;
      case '}':
        CloseBrace();
        return;
      case '$':
        if (drop_dollars_) {
          spaced_ = true;
        } else {
          Emit(TokenKind::kSymbol, symbol);
        }
        return;
      case '"':
      case '`':
        spaced_ = true;
        return;
      case '(':
      case '[':
        ++bracket_depth_;
        break;
      case ')':
      case ']':
        --bracket_depth_;
        break;
      default:
        break;
    }
    Emit(absl::StrContains("+-*/^_()[]|,;:!'=<>%&.", symbol) ? TokenKind::kSymbol : TokenKind::kOther, symbol);
  }

  void CloseBrace() {
    if (braces_.empty()) {
      Emit(TokenKind::kSymbol, "}");
      return;
    }
    const Brace brace = braces_.back();
    braces_.pop_back();
    if (brace.emits) {
      // ^{\circ} is a degree sign like ^\circ.
      const size_t n = tokens_.size();
      if (n >= 3 && tokens_[n - 1].IsCommand("circ") && tokens_[n - 2].IsSymbol('{') && tokens_[n - 3].IsSymbol('^')) {
        tokens_.erase(tokens_.end() - 3, tokens_.end() - 1);
        return;
      }
      Emit(TokenKind::kSymbol, "}");
    } else {
      spaced_ = true;
    }
    text_depth_ -= brace.is_text;
  }

  struct Brace {
    // It is a token, not a wrapper's.
    bool emits;
    bool is_text;
  };

  string_view rest_;
  const bool drop_dollars_;
  std::vector<Token> tokens_;
  std::vector<Brace> braces_;
  bool spaced_ = false;
  int text_depth_ = 0;
  // Brackets that hold items: ( [ \{.
  int bracket_depth_ = 0;
};

}  // namespace

std::vector<Token> Tokenize(string_view text) {
  text = TrimDecoration(text);
  if (std::all_of(text.begin(), text.end(), [](char c) { return absl::ascii_isascii(c); })) return Lexer(text).Run();
  const std::string ascii = WithoutUnicode(text);
  return Lexer(ascii).Run();
}

std::string Spell(const std::vector<Token>& tokens) {
  std::string result;
  for (const Token& token : tokens) {
    const bool is_letters = token.kind == TokenKind::kWord || token.kind == TokenKind::kNumber;
    if (!result.empty() && (token.spaced || is_letters) && absl::ascii_isalnum(result.back()) && is_letters) {
      result += ' ';
    }
    if (token.kind == TokenKind::kCommand) result += '\\';
    if (token.kind == TokenKind::kBegin) result += "\\begin ";
    if (token.kind == TokenKind::kEnd) result += "\\end ";
    result += token.text;
  }
  return result;
}

}  // namespace grpo::math
