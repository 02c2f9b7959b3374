#include "reward/choice.h"

#include <algorithm>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "reward/choice_token.h"
#include "reward/choice_words.h"
#include "reward/sentence.h"
#include "reward/words.h"

namespace grpo {
namespace {

using absl::string_view;
constexpr size_t kMaxText = 20000;

// Reads one text.
class Reader {
 public:
  Reader(string_view choices, string_view text) : choices_(choices), tokens_(TokenizeChoices(text)) {
    num_contents_ = std::count_if(tokens_.begin(), tokens_.end(),
                                  [](const ChoiceToken& token) { return token.kind != ChoiceToken::kMark; });
    head_ = FindHead();
    letters_.resize(tokens_.size());
    for (size_t i = 0; i < tokens_.size(); ++i) letters_[i] = LetterAt(i);
    FindOptionText();
  }

  char Read() {
    ReadOptionText();
    ReadClauses();
    if (is_blurred_ || named_.size() != 1 || rejected_.contains(*named_.begin())) return 0;
    return *named_.begin();
  }

 private:
  static const ChoiceToken& NoToken() {
    static const auto& none = *new ChoiceToken{.kind = ChoiceToken::kMark, .text = ";"};
    return none;
  }
  // A mark for what is before the first or behind the last.
  const ChoiceToken& At(size_t i) const { return i < tokens_.size() ? tokens_[i] : NoToken(); }
  string_view WordAt(size_t i) const { return At(i).kind == ChoiceToken::kWord ? string_view(At(i).text) : ""; }
  bool IsLetter(size_t i) const { return i < letters_.size() && letters_[i] != 0; }

  // The first token that is no mark and no word of announcement.
  size_t FindHead() const {
    size_t i = 0;
    while (i < tokens_.size() &&
           (tokens_[i].kind == ChoiceToken::kMark || IsTransparent(WordAt(i)) || IsAnnouncer(WordAt(i)))) {
      ++i;
    }
    return i;
  }

  bool IsOptionMark(size_t i) const {
    const ChoiceToken& token = At(i);
    return i < tokens_.size() && (token.IsMark(')') || token.IsMark(']') || token.IsMark('.') || token.IsMark(':') ||
                                  (token.IsMark('-') && token.is_spaced && At(i + 1).is_spaced));
  }

  // The letter, upper case, when the token at `i` can stand as a choice, else 0.
  char LetterAt(size_t i) const {
    const ChoiceToken& token = tokens_[i];
    const char upper = absl::ascii_toupper(token.text[0]);
    if (token.kind != ChoiceToken::kLetter || choices_.find(upper) == string_view::npos) return 0;
    if (token.is_bracketed) return upper;
    const ChoiceToken &before = At(i - 1), &behind = At(i + 1);
    const bool is_factor =
        before.kind == ChoiceToken::kOperator || behind.kind == ChoiceToken::kOperator ||
        (before.IsMark('-') && !token.is_spaced) || (before.IsMark('/') && At(i - 2).kind != ChoiceToken::kLetter) ||
        (behind.IsMark('/') && At(i + 2).kind != ChoiceToken::kLetter) || (behind.IsMark('(') && !behind.is_spaced) ||
        behind.IsMark('\'') || before.kind == ChoiceToken::kNumber;
    if (is_factor) return 0;
    const bool is_alone = num_contents_ == 1;
    if (!token.is_capital) {
      const bool is_announced = IsChoiceNoun(WordAt(i - 1)) || (WordAt(i - 1) == "is" && IsChoiceNoun(WordAt(i - 2)));
      const bool is_article = behind.kind == ChoiceToken::kWord || behind.kind == ChoiceToken::kNumber;
      const bool is_label = i == head_ && IsOptionMark(i + 1);
      return is_alone || is_label || (is_announced && !is_article) ? upper : 0;
    }
    return is_alone || token.is_quoted || !IsWordOfLanguage(i) ? upper : 0;
  }

  // Whether an upper-case A or I is the article or the pronoun.
  bool IsWordOfLanguage(size_t i) const {
    const ChoiceToken& behind = At(i + 1);
    const string_view word = WordAt(i + 1);
    if (tokens_[i].text == "A") {
      return (behind.kind == ChoiceToken::kWord && !BeginsClause(word) && !IsRejection(word) &&
              !IsOneOf(word, {"only", "alone"})) ||
             behind.kind == ChoiceToken::kNumber;
    }
    if (tokens_[i].text != "I") return false;
    const bool has_comma = behind.IsMark(',');
    const string_view verb = has_comma ? WordAt(i + 2) : word;
    if (!has_comma && behind.kind != ChoiceToken::kWord) return behind.kind == ChoiceToken::kNumber;
    return !IsOneOf(verb, {"is", "isn't", "since", "because", "or"}) &&
           !(has_comma && At(i + 2).kind != ChoiceToken::kWord);
  }

  // Finds the text of the choice at the head.
  void FindOptionText() {
    if (!IsLetter(head_)) return;
    size_t begin = head_ + 1;
    const ChoiceToken& behind = At(begin);
    const bool in_brackets = behind.IsMark('(');
    if (in_brackets || IsOptionMark(begin)) {
      ++begin;
    } else if (!tokens_[head_].is_bracketed && !behind.is_capital && behind.kind != ChoiceToken::kNumber) {
      return;
    }
    text_is_marked_ = tokens_[head_].is_bracketed || (begin == head_ + 2 && !in_brackets && !behind.IsMark('-'));
    const ChoiceToken& first = At(begin);
    const bool is_text = first.kind == ChoiceToken::kWord || first.kind == ChoiceToken::kNumber ||
                         first.kind == ChoiceToken::kOperator || IsLetter(begin) || first.kind == ChoiceToken::kLetter;
    if (begin >= tokens_.size() || !is_text || BeginsClause(WordAt(begin))) return;
    text_begin_ = begin;
    text_end_ = begin;
    while (text_end_ < tokens_.size() && !EndsOptionText(WordAt(text_end_))) {
      const ChoiceToken& token = tokens_[text_end_];
      if (token.IsMark('.') || token.IsMark(';') || token.IsMark('!') || token.IsMark('?')) break;
      if (in_brackets && token.IsMark(')')) break;
      ++text_end_;
    }
  }

  // A letter in the choice's own text is one of its words, but for one that a hedge puts there.
  void ReadOptionText() {
    bool is_last_word = false;
    size_t last = 0;
    for (size_t i = text_begin_; i < text_end_; ++i) {
      if (!IsLetter(i)) continue;
      size_t before = i;
      while (before > text_begin_ && IsTransparent(WordAt(before - 1))) --before;
      const bool is_first = before == text_begin_;
      bool is_word = false;
      if (is_first) {
        is_word = IsJoin(i + 1) && (IsLetter(i + 2) || (IsJoin(i + 2) && IsLetter(i + 3)));
      } else if (IsJoin(before - 1)) {
        const size_t joined = IsJoin(before - 2) && before >= 2 ? before - 3 : before - 2;
        is_word = is_last_word && joined == last;
      } else {
        const string_view word = WordAt(before - 1);
        is_word = MayNameLetter(word) || IsOneOf(word, {"both", "either", "neither", "only", "all", "none", "not"}) ||
                  (word == "of" && IsOneOf(WordAt(before - 2), {"all", "none", "any", "some", "both"})) ||
                  (text_is_marked_ && IsPreposition(word) && RelatesLetter(before - 1));
      }
      // "B. Paris C) London".
      const bool is_label = i + 1 < text_end_ && (At(i + 1).IsMark(')') || At(i + 1).IsMark(':'));
      is_last_word = is_word && !is_label;
      last = i;
      if (!is_last_word) named_.insert(letters_[i]);
    }
  }

  // Whether the preposition at `i` stands behind nothing, a choice or a noun: "from A to B", but not "closer to B".
  bool RelatesLetter(size_t i) const {
    return i == text_begin_ || At(i - 1).kind == ChoiceToken::kLetter || MayNameLetter(WordAt(i - 1));
  }

  bool IsJoin(size_t i) const {
    return IsOneOf(WordAt(i), {"and", "or", "nor"}) || At(i).IsMark(',') || At(i).IsMark('/') || At(i).IsMark('&');
  }

  // Whether the join at `i` stands between two choices.
  bool JoinsLetters(size_t i) const {
    size_t before = i - 1, behind = i + 1;
    if (IsJoin(before)) --before;
    if (IsJoin(behind)) ++behind;
    while (IsTransparent(WordAt(behind))) ++behind;
    return IsLetter(before) && IsLetter(behind);
  }

  // "all but C", "anything but C".
  bool IsExceptBut(size_t i) const {
    return WordAt(i) == "but" &&
           IsOneOf(WordAt(i - 1), {"all", "any", "anything", "everything", "every", "nothing", "none"});
  }

  // "rather D" names D, "rather than D" rejects it.
  bool RejectsAt(size_t i) const {
    if (WordAt(i) == "rather") return WordAt(i + 1) == "than";
    if (WordAt(i) == "instead") return WordAt(i + 1) == "of";
    return IsRejection(WordAt(i)) || IsExceptBut(i);
  }

  bool SplitsAt(size_t i) const {
    const ChoiceToken& token = tokens_[i];
    if (i >= text_begin_ && i < text_end_) return true;
    if (token.kind == ChoiceToken::kMark) return !IsJoin(i) || (token.IsMark(',') && !JoinsLetters(i));
    const string_view word = WordAt(i);
    if (word == "and") return !JoinsLetters(i);
    return !IsExceptBut(i) && (IsReason(word) || IsSeparator(word));
  }

  void ReadClauses() {
    bool gives_reason = false;
    size_t begin = 0;
    for (size_t i = 0; i <= tokens_.size(); ++i) {
      if (i < tokens_.size() && !SplitsAt(i)) continue;
      ReadClause(begin, i, gives_reason);
      begin = i + 1;
      if (i == tokens_.size() || (i >= text_begin_ && i < text_end_)) continue;
      const bool keeps_reason = tokens_[i].IsMark(',') || WordAt(i) == "and";
      gives_reason = IsReason(WordAt(i)) || (gives_reason && keeps_reason);
      is_blurred_ = is_blurred_ || tokens_[i].IsMark('?');
    }
  }

  // The tokens [begin, end) of one clause.
  void ReadClause(size_t begin, size_t end, bool gives_reason) {
    std::vector<size_t> letters, rejections;
    bool blurs = false, blurs_rejection = false;
    for (size_t i = begin; i < end; ++i) {
      const string_view word = WordAt(i);
      if (IsLetter(i)) letters.push_back(i);
      if (RejectsAt(i)) rejections.push_back(i);
      blurs = blurs || (Blurs(word) && !IsExceptBut(i + 1));
      blurs_rejection = blurs_rejection || BlursRejection(word);
      // "C, or Paris", "C unless".
      is_blurred_ = is_blurred_ || word == "unless" || word == "if" || (word == "or" && i == begin && !gives_reason);
    }
    if (letters.empty()) return;
    size_t num_named = letters.size();
    if (blurs || rejections.size() > 1 || (blurs_rejection && !rejections.empty())) {
      is_blurred_ = true;
    } else if (!rejections.empty()) {
      num_named = NumNotRejected(letters, rejections[0]);
    }
    for (size_t i = 0; i < letters.size(); ++i) {
      if (i < num_named) {
        ReadNamed(begin, letters[i], gives_reason);
      } else {
        rejected_.insert(letters_[letters[i]]);
      }
    }
  }

  // How many of a clause's letters stand before those that its one rejection is about.
  size_t NumNotRejected(const std::vector<size_t>& letters, size_t rejection) {
    const size_t num_before = std::upper_bound(letters.begin(), letters.end(), rejection) - letters.begin();
    if (num_before == 0 || num_before == letters.size()) return 0;
    size_t next = rejection + 1;
    while (IsTransparent(WordAt(next)) || IsOneOf(WordAt(next), {"than", "of"})) ++next;
    // "C is not D": who knows.
    const string_view word = WordAt(rejection);
    const bool is_direct = word != "not" || letters[num_before - 1] + 1 == rejection;
    if (!is_direct || !RejectsBehind(word) || next != letters[num_before]) is_blurred_ = true;
    return num_before;
  }

  // A letter that its clause does not reject.
  void ReadNamed(size_t begin, size_t i, bool gives_reason) {
    size_t before = i;
    while (before > begin && IsTransparent(WordAt(before - 1))) --before;
    is_blurred_ = is_blurred_ || WordAt(i + 1) == "or" || (before > begin && WordAt(before - 1) == "or");
    const bool is_marked = tokens_[i].is_bracketed || tokens_[i].is_quoted;
    if (is_marked || before == begin || IsJoin(before - 1) || IsLetter(before - 1) || IsAnnouncer(WordAt(before - 1))) {
      named_.insert(letters_[i]);
    } else if (!gives_reason || !MayNameLetter(WordAt(before - 1))) {
      is_blurred_ = true;
    }
  }

  const string_view choices_;
  const std::vector<ChoiceToken> tokens_;
  size_t num_contents_ = 0, head_ = 0;
  // Of each token: its letter where it can stand as a choice.
  std::vector<char> letters_;
  // The tokens of the text of the choice at the head.
  size_t text_begin_ = 0, text_end_ = 0;
  // A mark that choices have stands before it: "B.", "(B)".
  bool text_is_marked_ = false;
  absl::flat_hash_set<char> named_, rejected_;
  // Something was said that leaves the choice open.
  bool is_blurred_ = false;
};

}  // namespace

char ReadChoice(string_view choices, string_view text) {
  return text.size() > kMaxText ? 0 : Reader(choices, text).Read();
}

}  // namespace grpo
