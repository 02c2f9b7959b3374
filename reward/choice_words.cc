#include "reward/choice_words.h"

#include <algorithm>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"

namespace grpo {

using absl::string_view;

namespace {
using Words = absl::flat_hash_set<string_view>;
}  // namespace

bool IsTransparent(string_view word) {
  static const auto& words = *new Words({"the", "option", "options", "choice", "choices", "answer", "answers", "letter",
                                         "correct", "right", "alternative", "statement", "statements"});
  return words.contains(word);
}

bool IsChoiceNoun(string_view word) {
  return word == "option" || word == "choice" || word == "letter" || word == "answer" || word == "alternative";
}

bool IsAnnouncer(string_view word) {
  static const auto& words = *new Words({
      "is",     "are",      "be",        "was",    "say",        "choose",   "chose",     "pick",   "picked",  "select",
      "with",   "for",      "to",        "maybe",  "perhaps",    "possibly", "probably",  "likely", "also",    "either",
      "surely", "clearly",  "certainly", "simply", "definitely", "guess",    "answering", "just",   "finally", "only",
      "chosen", "selected", "therefore", "thus",   "hence",      "then",     "so",        "both",   "it's",    "namely",
  });
  return words.contains(word);
}

bool BeginsClause(string_view word) {
  static const auto& words = *new Words({
      "is",        "isn't",    "are",      "was",     "since",  "because",       "as",       "and",
      "or",        "nor",      "but",      "so",      "then",   "which",         "maybe",    "perhaps",
      "possibly",  "also",     "rather",   "instead", "unless", "while",         "although", "though",
      "wait",      "actually", "probably", "however", "cannot", "can't",         "does",     "doesn't",
      "would",     "seems",    "fits",     "fails",   "looks",  "alternatively", "hence",    "thus",
      "therefore", "if",       "must",     "could",   "might",  "may",
  });
  return words.contains(word);
}

bool EndsOptionText(string_view word) {
  static const auto& words = *new Words({"since", "because", "but", "so", "maybe", "perhaps", "possibly", "however",
                                         "although", "though", "unless", "alternatively"});
  return words.contains(word);
}

bool IsSeparator(string_view word) {
  static const auto& words = *new Words(
      {"but", "while", "whereas", "although", "though", "so", "then", "thus", "hence", "therefore", "which", "where"});
  return words.contains(word);
}

bool IsRejection(string_view word) {
  static const auto& words = *new Words({
      "not",      "never",  "neither",  "cannot",   "wrong",   "incorrect",   "false",       "impossible",
      "invalid",  "untrue", "unlikely", "excluded", "exclude", "excluding",   "eliminated",  "eliminate",
      "rejected", "reject", "except",   "instead",  "rather",  "unlike",      "contradicts", "contradict",
      "fails",    "fail",   "violates", "ruled",    "rule",    "implausible", "doubtful",    "questionable",
  });
  return words.contains(word) || absl::EndsWith(word, "n't");
}

bool RejectsBehind(string_view word) {
  return word == "not" || word == "rather" || word == "instead" || word == "unlike" || word == "except";
}

bool Blurs(string_view word) {
  static const auto& words = *new Words({"no", "nothing", "none", "nobody", "hardly", "without", "necessarily"});
  return words.contains(word);
}
bool BlursRejection(string_view word) {
  static const auto& words = *new Words({"sure", "certain", "convinced", "clear", "decide", "worse", "less", "more",
                                         "better", "bad", "entirely", "longer", "wholly", "fully", "only", "just"});
  return words.contains(word);
}

bool IsPreposition(string_view word) {
  static const auto& words = *new Words({"of", "in", "to", "at", "on", "from", "between", "above", "below", "near",
                                         "over", "under", "through", "inside", "outside", "toward", "towards", "into"});
  return words.contains(word);
}

bool MayNameLetter(string_view word) {
  // Words of four letters and more that name nothing.
  static const auto& words = *new Words({
      "about",    "than",    "with",       "place",         "again",     "along",    "behind",    "beside",
      "besides",  "beyond",  "during",     "like",          "next",      "past",     "plus",      "minus",
      "until",    "upon",    "versus",     "within",        "without",   "else",     "otherwise", "even",
      "equally",  "finally", "later",      "likewise",      "meanwhile", "moreover", "rather",    "similarly",
      "still",    "well",    "sorry",      "wait",          "were",      "been",     "equals",    "means",
      "meaning",  "meant",   "mean",       "giving",        "gives",     "making",   "makes",     "become",
      "becomes",  "beats",   "corrected",  "following",     "followed",  "follows",  "including", "looks",
      "seems",    "that",    "this",       "them",          "these",     "those",    "together",  "addition",
      "oder",     "some",    "simplified", "sometimes",     "less",      "more",     "most",      "least",
      "much",     "same",    "such",       "here",          "there",     "where",    "when",      "what",
      "which",    "while",   "since",      "because",       "have",      "having",   "works",     "think",
      "believe",  "prefer",  "preferred",  "probable",      "almost",    "exactly",  "perhaps",   "maybe",
      "possibly", "instead", "actually",   "alternatively", "whereas",   "though",   "although",  "however",
      "unless",   "except",  "neither",    "either",        "both",      "leaning",  "close",     "closer",
      "replaced", "changed", "switch",     "switched",      "changing",  "hence",    "thus",      "therefore",
  });
  const bool is_ascii =
      std::all_of(word.begin(), word.end(), [](char c) { return absl::ascii_isalpha(c) || c == '-'; });
  return is_ascii && (word.size() > 3 || word == "set") && !words.contains(word) && !IsAnnouncer(word) &&
         !IsRejection(word) && !IsPreposition(word);
}

}  // namespace grpo
