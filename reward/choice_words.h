// What words do to the choices that a text names (reward/choice.h). Of words in lower case.
#ifndef GRPO_REWARD_CHOICE_WORDS_H_
#define GRPO_REWARD_CHOICE_WORDS_H_

#include "absl/strings/string_view.h"

namespace grpo {

// Words that say nothing about the letter behind them: what stands before them does.
bool IsTransparent(absl::string_view word);
// Nouns that make a choice of a lower-case letter, too.
bool IsChoiceNoun(absl::string_view word);
// Words behind which a letter is a choice.
bool IsAnnouncer(absl::string_view word);
// Words that a choice's own text does not begin with.
bool BeginsClause(absl::string_view word);
// Words in a choice's text where that text ends.
bool EndsOptionText(absl::string_view word);
// Words between clauses that give no reason.
bool IsSeparator(absl::string_view word);
// Words that reject a choice.
bool IsRejection(absl::string_view word);
// Rejections of what stands directly behind them, whatever stands before.
bool RejectsBehind(absl::string_view word);
// Words beside which nobody can be sure what is said of a choice.
bool Blurs(absl::string_view word);
// Beside a rejection.
bool BlursRejection(absl::string_view word);
// Words that have a letter for a name: "vitamin C", "point D".
bool MayNameLetter(absl::string_view word);
// Words that relate a letter to something else in a choice's own text: "from A to B".
bool IsPreposition(absl::string_view word);

}  // namespace grpo

#endif  // GRPO_REWARD_CHOICE_WORDS_H_
