// Outcomes in words.
#ifndef GRPO_REWARD_OUTCOME_H_
#define GRPO_REWARD_OUTCOME_H_

#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/string_view.h"
#include "proto/types.pb.h"

namespace grpo {

// "no_answer" for OUTCOME_NO_ANSWER: the name in output, metrics and configuration. Of a value that the enum has. Pure.
inline std::string OutcomeName(v1::Outcome outcome) {
  constexpr absl::string_view kPrefix = "OUTCOME_";
  return absl::AsciiStrToLower(v1::Outcome_Name(outcome).substr(kPrefix.size()));
}

}  // namespace grpo

#endif  // GRPO_REWARD_OUTCOME_H_
