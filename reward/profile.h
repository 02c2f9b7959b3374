// A reward profile: rules with weights, mixed into one Score per completion (DESIGN.md law 1: never a silent zero).
#ifndef GRPO_REWARD_PROFILE_H_
#define GRPO_REWARD_PROFILE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/types.pb.h"
#include "reward/options.h"
#include "reward/rule.h"

namespace grpo {

// Thread-safe.
class RewardProfile {
 public:
  // InvalidArgument as MakeRule, or when there is no rule.
  static absl::StatusOr<std::unique_ptr<RewardProfile>> Make(const std::string& name, const RewardProfileOptions& options);

  v1::Score Score(absl::string_view completion, const v1::Prompt& prompt) const;
  // The first rule that cannot read the prompt's reference answer.
  absl::Status CheckReference(const v1::Prompt& prompt) const;

  // Name and SHA-256 (hex) of the resolved options (DumpOptions).
  const v1::RewardProfileRef& ref() const { return ref_; }
  const RewardProfileOptions& options() const { return options_; }

 private:
  RewardProfile() = default;
  v1::RewardProfileRef ref_;
  RewardProfileOptions options_;
  // In the options' order, beside their names.
  std::vector<std::pair<std::string, std::unique_ptr<Rule>>> rules_;
};

// The profile of `grpoctl reward score` without a configuration: math_answer (weight 1) and format_tags (weight 1).
RewardProfileOptions DefaultRewardProfile();

}  // namespace grpo

#endif  // GRPO_REWARD_PROFILE_H_
