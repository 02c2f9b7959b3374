// Where in a completion the answer stands. Shared by every rule that reads answers, so that they agree.
//
// Region: the text after the last </think>; a <think> that never closes means no answer. In it, if there is any answer
// tag, the content of the last whole <answer>...</answer>; a later <answer> left open means no answer (it may be cut
// short). Ladder inside the region, the first rung that is there decides:
//   1. the last \boxed{} or \fbox{} with balanced braces, the outermost of a nest. One that never closes means no
//      answer. Without braces it holds the number, the letter or the command that follows (\boxed 9, \boxed\frac12)
//      where a formula, a sentence or a line ends behind it or words follow; before an operator it means no answer.
//      Boxes with only glue between them (blanks, punctuation, "and", "or") are one list answer, so that a hedge over
//      boxes cannot pay;
//   2. the last line "#### ...";
//   3. what the last "answer is|are|:|=" states, on its line or the next, without what explains it
//      (reward/statement.h);
//   4. inside answer tags: all of the content;
//   5. with plain_fallback: the formula or number that ends last; several with "or" between them are one list.
// Tags are exact: lower-case ASCII, no attributes, no blanks. Any bytes; linear in the completion. Thread-safe.
#ifndef GRPO_REWARD_EXTRACT_H_
#define GRPO_REWARD_EXTRACT_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "proto/types.pb.h"

namespace grpo {

struct ExtractOptions {
  // Rungs that may be left out; without answer_tags the tags are text like other text.
  bool answer_tags = true;
  bool boxes = true;
  bool hash_lines = true;
  bool phrases = true;
  // The prompt ended in <think>, so the completion starts inside the thinking.
  bool prefill = false;
  // Takes the last formula or number where nothing marks an answer.
  bool plain_fallback = false;
};

struct Extraction {
  // SCORED when there is an answer, otherwise NO_ANSWER.
  v1::Outcome outcome = v1::OUTCOME_NO_ANSWER;
  // The answer, trimmed for display (math/text.h). Several parts are the boxes of one list, each text once. None
  // without an answer.
  std::vector<std::string> parts = {};

  // Where a phrase states the answer in one part: the whole sentence behind it, with what explains the answer. Rules of
  // their own mind read that. Otherwise empty.
  std::string sentence = {};

  // The parts, joined by ", ".
  std::string Text() const;
};

Extraction ExtractAnswer(absl::string_view completion, const ExtractOptions& options = {});

// Whether the prompt's text ends in <think>: completions of it start inside the thinking.
bool IsPrefilled(const v1::Prompt& prompt);

}  // namespace grpo

#endif  // GRPO_REWARD_EXTRACT_H_
