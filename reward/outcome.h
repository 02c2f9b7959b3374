// Outcomes in words.
#ifndef GRPO_REWARD_OUTCOME_H_
#define GRPO_REWARD_OUTCOME_H_

#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "proto/types.pb.h"

namespace grpo {

// "no_answer" for OUTCOME_NO_ANSWER: the name in output, metrics and configuration. "outcome_77" for a value that the
// enum does not have, as a message of another build may hold it. Pure.
inline std::string OutcomeName(v1::Outcome outcome) {
  if (!v1::Outcome_IsValid(outcome)) return absl::StrCat("outcome_", static_cast<int>(outcome));
  return absl::AsciiStrToLower(absl::StripPrefix(v1::Outcome_Name(outcome), "OUTCOME_"));
}

}  // namespace grpo

#endif  // GRPO_REWARD_OUTCOME_H_
