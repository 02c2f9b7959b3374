// Which choice a text names. A letter counts only where it stands as a choice:
//   - alone: "B", "b", "\text{B}", "(B)", "B.";
//   - at the head of the choice's text: "B) Paris", "D. Both A and B", "B Paris"; letters inside that text are its words;
//   - after a word that announces it: "option D", "it must be C", "so C", "I would say C";
//   - marked in a sentence: "Paris (C)", "go with **C**".
// A, I and lower-case letters are words elsewhere ("a prime number", "I have no idea"), a letter beside an operator or
// behind a number is mathematics or a unit ("a = 5", "20 C"), and one behind another word is its name ("Vitamin C").
//
// A text that names several choices names none, unless it rejects all others: "C, since A is wrong", "C, not D", "A is
// wrong, so C". Where it is not certain that a choice is rejected ("D is not impossible"), it counts as named; "C or
// ..." and questions name none.
#ifndef GRPO_REWARD_CHOICE_H_
#define GRPO_REWARD_CHOICE_H_

#include <string>

#include "absl/strings/string_view.h"

namespace grpo {

// The one of the letters `choices` (upper case) that `text` names; 0 when it names none, several, or has more than
// 20000 bytes. Any bytes; linear in the text. Thread-safe.
char ReadChoice(absl::string_view choices, absl::string_view text);

}  // namespace grpo

#endif  // GRPO_REWARD_CHOICE_H_
