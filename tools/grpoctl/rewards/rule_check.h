// `grpoctl reward test`: a profile's rules against the contract of reward/rule.h, and how long they take.
#ifndef GRPO_TOOLS_GRPOCTL_REWARDS_RULE_CHECK_H_
#define GRPO_TOOLS_GRPOCTL_REWARDS_RULE_CHECK_H_

#include <cstdint>
#include <ostream>

#include "reward/profile.h"

namespace grpo {

// Scores completions of all kinds (empty, a megabyte, invalid UTF-8, tags in every order) against `prompt`, each twice,
// and writes a line for each rule: how many were scored, whether it kept the contract, seconds a completion. Returns
// the number of rules that did not: that failed, left their range, changed their mind, took longer than 2 s, or scored
// nothing at all. Where a rule needs something that is not available, all rules count as failed, and that is said. The
// same completions at every call.
int64_t CheckRules(const RewardProfile& profile, const v1::Prompt& prompt, std::ostream& out);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_REWARDS_RULE_CHECK_H_
