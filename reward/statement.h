// The answer that a sentence states: "The final answer is **72** clips, since there are seven days."
//
// The last phrase "answer is|are|must be|should be|will be|equals|:|=" announces it; between "answer" and its verb may
// stand "to this question", "choice", a comma with "therefore", and closing marks of Markdown or LaTeX. The statement is
// what follows on the line, up to the end of the sentence, or all of a formula in $$ $$ or \[ \] over several lines; with
// a colon or an equals sign and nothing behind it on the line, the next line that is not blank. A heading
// ("## Final Answer") announces the line below it too. Lines directly below that hold nothing but a value belong to it:
// they are one list.
//
// What explains the answer is no part of it (reward/explanation.h).
//
// No answer is stated by a question, by "I doubt that the answer is", "if the answer is", "or the answer is", "the wrong
// answer is", nor where the next words take it back ("Or", "Wait").
//
// Any bytes; linear in the text. Thread-safe.
#ifndef GRPO_REWARD_STATEMENT_H_
#define GRPO_REWARD_STATEMENT_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace grpo {

struct Statement {
  // The whole sentence behind the phrase, a piece of the text.
  absl::string_view sentence;
  // The answer without what explains it, trimmed for display; several where lines below are a list with it. None: the
  // phrase is there and states no answer.
  std::vector<std::string> parts;
};

// Absent without a phrase.
std::optional<Statement> LastStatement(absl::string_view text);

}  // namespace grpo

#endif  // GRPO_REWARD_STATEMENT_H_
