// `grpoctl reward score` and `reward equal` on streams.
#ifndef GRPO_TOOLS_GRPOCTL_REWARDS_SCORE_LINES_H_
#define GRPO_TOOLS_GRPOCTL_REWARDS_SCORE_LINES_H_

#include <cstdint>
#include <istream>
#include <ostream>

#include "reward/math/equal.h"
#include "reward/profile.h"

namespace grpo {

// Input: {"id", "completion" or "completion_b64", "answer" or "solution"}, optional "prompt", "prefill", "metadata"
// (an object) and "ids" (token ids, for rules that count them).
// `completion_b64` is for bytes that are not UTF-8. From a `solution` the reference answer is extracted as from a
// completion. `prefill: true` says that the prompt already ended in <think>. Output:
// {"id","outcome","value","rules":{name:{"outcome","value"}},"extracted"}, json_lines.h. Returns the number of lines
// with an error. `explain` adds to each rule "decided_by", "reference_form" and "answer_form". A completion is a group
// of its own: rules that compare completions see one alone.
int64_t ScoreLines(std::istream& in, std::ostream& out, const RewardProfile& profile, bool explain = false);

// Input: {"id"?, "gold", "pred"}, both answers. Output: {"id", "equal": true, false or null when undecided, "outcome"};
// options.explain adds "decided_by", "gold_form" and "pred_form". Returns the number of lines with an error.
int64_t EqualLines(std::istream& in, std::ostream& out, const math::EqualOptions& options = {});

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_REWARDS_SCORE_LINES_H_
