#include "reward/sentence.h"

#include <algorithm>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "reward/math/number_words.h"
#include "reward/words.h"

namespace grpo {
namespace {

using absl::string_view;
using Words = absl::flat_hash_set<string_view>;

bool IsNumber(string_view word) {
  word = word.substr(0, word.find('-'));
  return math::IsNumberWord(word) || IsOneOf(word, {"hundred", "thousand", "million", "billion", "dozen"});
}

constexpr string_view kApostrophe = "\u2019", kDashes[] = {"\u2014", "\u2013", "--"};

class Splitter {
 public:
  explicit Splitter(string_view text) : text_(text) {}

  std::vector<Piece> Run() {
    while (at_ < text_.size()) {
      if (absl::ascii_isspace(text_[at_])) {
        ++at_;
      } else if (absl::ascii_isalpha(text_[at_])) {
        Word();
      } else if (absl::ascii_isdigit(text_[at_])) {
        Number();
      } else {
        Mark();
      }
    }
    return std::move(pieces_);
  }

 private:
  void Add(Piece::Kind kind, size_t length) {
    pieces_.push_back({.kind = kind, .begin = at_, .end = at_ + length, .depth = depth_});
    at_ += length;
  }

  void Word() {
    std::string word;
    size_t end = at_;
    while (end < text_.size()) {
      const string_view rest = text_.substr(end);
      const size_t joint = rest[0] == '\'' || rest[0] == '-' ? 1 : absl::StartsWith(rest, kApostrophe) ? 3 : 0;
      if (joint > 0 && (end + joint == text_.size() || !absl::ascii_isalpha(text_[end + joint]))) break;
      if (joint == 0 && !absl::ascii_isalpha(rest[0])) break;
      word += joint == 3 ? '\'' : absl::ascii_tolower(rest[0]);
      end += std::max<size_t>(joint, 1);
    }
    // A single letter is a name of mathematics, and so is one with digits.
    const bool is_name = (word.size() == 1 && word != "a" && word != "i") ||
                         (end < text_.size() && (absl::ascii_isdigit(text_[end]) || text_[end] == '_'));
    const bool is_capital = absl::ascii_isupper(text_[at_]);
    Add(is_name || IsNumber(word) ? Piece::kValue : Piece::kWord, end - at_);
    pieces_.back().word = std::move(word);
    pieces_.back().is_capital = is_capital;
  }

  // "1,234.5", but of "2, 3" the first only.
  void Number() {
    size_t length = 1;
    while (at_ + length < text_.size()) {
      const string_view rest = text_.substr(at_ + length);
      const bool is_point = rest.size() > 1 && (rest[0] == '.' || rest[0] == ',') && absl::ascii_isdigit(rest[1]);
      if (!absl::ascii_isdigit(rest[0]) && !is_point) break;
      ++length;
    }
    Add(Piece::kValue, length);
  }

  void Mark() {
    const string_view rest = text_.substr(at_);
    const bool is_spaced = at_ > 0 && absl::ascii_isspace(text_[at_ - 1]);
    for (const string_view dash : kDashes) {
      if (absl::StartsWith(rest, dash)) return Add(Piece::kDash, dash.size());
    }
    if (rest[0] == '-' && is_spaced && rest.size() > 1 && absl::ascii_isspace(rest[1])) return Add(Piece::kDash, 1);
    for (const string_view space : {"\\,", "\\;", "\\:", "\\!", "\\ "}) {
      if (absl::StartsWith(rest, space)) return Add(Piece::kOther, space.size());
    }
    if (rest[0] == '\\') {
      size_t length = 1;
      while (length < rest.size() && absl::ascii_isalpha(rest[length])) ++length;
      return Add(Piece::kValue, std::min(std::max<size_t>(length, 2), rest.size()));
    }
    if (absl::StrContains("([{", rest.substr(0, 1))) {
      Add(Piece::kOpen, 1);
      ++depth_;
    } else if (absl::StrContains(")]}", rest.substr(0, 1))) {
      --depth_;
      Add(Piece::kClose, 1);
    } else if (rest[0] == ',' || rest[0] == ';') {
      Add(Piece::kComma, 1);
    } else {
      Add(absl::StrContains(".:'\"", rest.substr(0, 1)) ? Piece::kOther : Piece::kValue, 1);
    }
  }

  const string_view text_;
  size_t at_ = 0;
  int depth_ = 0;
  std::vector<Piece> pieces_;
};

}  // namespace

std::vector<Piece> SplitSentence(string_view text) {
  return Splitter(text).Run();
}

bool IsHedge(string_view word) {
  static const auto& words = *new Words({
      "or",          "nor",           "either",     "neither",       "not",       "no",        "but",
      "however",     "maybe",         "perhaps",    "possibly",      "unless",    "except",    "if",
      "whether",     "otherwise",     "instead",    "rather",        "wrong",     "incorrect", "false",
      "could",       "might",         "depending",  "else",          "also",      "plus",      "minus",
      "times",       "divided",       "than",       "wait",          "actually",  "about",     "roughly",
      "almost",      "approximately", "nearly",     "half",          "third",     "thirds",    "quarter",
      "quarters",    "double",        "twice",      "negative",      "opposite",  "squared",   "cubed",
      "modulo",      "mod",           "factorial",  "etc",           "although",  "though",    "while",
      "whereas",     "when",          "until",      "alternatively", "infinity",  "pi",        "its",
      "conjugate",   "inverse",       "reciprocal", "percent",       "any",       "every",     "cannot",
      "without",     "too",           "most",       "least",         "best",      "worst",     "up",
      "below",       "above",         "under",      "over",          "among",     "besides",   "beyond",
      "apart",       "including",     "excluding",  "ignoring",      "example",   "instance",  "say",
      "never",       "nobody",        "hardly",     "yet",           "sometimes", "usually",   "assuming",
      "suppose",     "supposing",     "provided",   "case",          "cases",     "base",      "binary",
      "octal",       "hexadecimal",   "hex",        "measured",      "expressed", "thousands", "millions",
      "billions",    "hundreds",      "dozens",     "sign",          "remainder", "unlike",    "versus",
      "alternative", "option",
  });
  return words.contains(word) || absl::EndsWith(word, "n't");
}

bool IsReason(string_view word) {
  return word == "since" || word == "because" || word == "as";
}

bool IsConclusion(string_view word) {
  static const auto& words = *new Words({"so", "thus", "hence", "therefore", "then", "giving", "making", "which"});
  return words.contains(word);
}

bool IsConnective(string_view word) {
  static const auto& words = *new Words({"where", "altogether", "overall", "exactly", "precisely", "indeed",
                                         "obviously", "clearly", "meaning", "respectively"});
  return words.contains(word) || IsConclusion(word);
}

}  // namespace grpo
