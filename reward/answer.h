// Parts of a completion that several rules read, and the keys that say how. Thread-safe.
#ifndef GRPO_REWARD_ANSWER_H_
#define GRPO_REWARD_ANSWER_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "configs/visit.h"
#include "re2/re2.h"
#include "reward/extract.h"
#include "reward/rule.h"

namespace grpo {

// Keys of a rule that reads the answer; a rule's Visit calls this one's.
struct AnswerOptions {
  bool prefill = false;
  bool plain_fallback = false;

  template <class V>
  void Visit(V& v) {
    v("prefill", prefill,
      {.help = "The prompt's template already ends in <think>, so completions start inside it. Found out by itself "
               "where the prompt's text ends in <think>."});
    v("plain_fallback", plain_fallback,
      {.help = "Where nothing marks an answer, take the last formula or number. Pays for any number that happens to "
               "come last."});
  }
};

Extraction ReadAnswer(const RuleInput& input, const AnswerOptions& options);

// The answer of a reference. One that is a whole solution, with a \boxed{}, a "####", answer tags or "the answer is" in
// it, is read by a completion's rules (reward/extract.h), and absent when those find no answer; any other is the answer.
std::optional<std::string> ReadReference(absl::string_view reference);

// The thinking: what stands before the last </think>, without the <think> in front; all of it while it is not closed,
// nothing when it never began.
absl::string_view ThinkingOf(const RuleInput& input);

// What is kept for logs of an answer, or of what decided.
std::string CutForLog(absl::string_view text);

// Keys of a rule that builds on whether another one found the completion right.
struct BasisOptions {
  std::string basis = "math_answer";
  double right_from = 1.0;

  template <class V>
  void Visit(V& v) {
    v("basis", basis, {.help = "The rule of the same profile that says whether the completion is right."});
    v("right_from", right_from, {.help = "Its raw value from which on it is.", .min = -1e6, .max = 1e6});
  }
  bool IsRight(const v1::RuleScore& score) const {
    return score.outcome() == v1::OUTCOME_SCORED && score.value() >= right_from;
  }
};

// SCORED when the basis judged; what the completion caused counts as wrong. UNDECIDED without a basis; its own outcome
// when we failed it.
v1::Outcome BasisOutcome(const v1::RuleScore* basis);

// A pattern of RE2 (https://github.com/google/re2/wiki/Syntax): matching is linear in the text whatever the pattern.
// InvalidArgument with place and position for a pattern that RE2 refuses, or so large that even linear would be slow.
absl::StatusOr<std::unique_ptr<RE2>> MakePattern(const std::string& pattern, const Section& section, const char* key);

// Matches that do not overlap, from the left; stops counting at `enough`, which bounds the time.
int64_t CountMatches(const RE2& pattern, absl::string_view text, int64_t enough);

}  // namespace grpo

#endif  // GRPO_REWARD_ANSWER_H_
