// A reward profile: rules with weights, mixed into one Score per completion (DESIGN.md law 1: never a silent zero).
//
// A score's outcome is the gravest of its rules' (the order of v1::Outcome), its value the sum of weight times value.
// It is excluded when the outcome of any rule is our failure (reference_unparsable, deadline, rule_error), or is the
// completion's (no_answer, undecided, over_budget) and the profile says "exclude" for it. A rule that throws, or leaves
// its range, is a rule_error and is logged.
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
  static absl::StatusOr<std::unique_ptr<RewardProfile>> Make(const std::string& name,
                                                             const RewardProfileOptions& options);

  // `explain` fills the forms of every rule's score.
  v1::Score Score(absl::string_view completion, const v1::Prompt& prompt, bool explain = false) const;
  // The score of a completion that no rule has seen: every rule has this outcome, which is not SCORED.
  v1::Score Unscored(v1::Outcome outcome) const;
  // The first rule that cannot read the prompt's reference answer.
  absl::Status CheckReference(const v1::Prompt& prompt) const;

  // Name and SHA-256 (hex) of options() as YAML (DumpOptions).
  const v1::RewardProfileRef& ref() const { return ref_; }
  // With the rules' own options resolved: every key present.
  const RewardProfileOptions& options() const { return options_; }

 private:
  struct WeightedRule {
    std::string name;
    double weight, min_value, max_value;
    std::unique_ptr<const Rule> rule;
  };

  // For tests with rules that misbehave.
  friend class RewardProfilePeer;

  RewardProfile() = default;
  v1::RuleScore ScoreOne(const WeightedRule& rule, const RuleInput& input) const;
  bool Excludes(v1::Outcome outcome) const;
  // Sums up score->rules.
  void Mix(v1::Score* score) const;

  v1::RewardProfileRef ref_;
  RewardProfileOptions options_;
  // In the options' order.
  std::vector<WeightedRule> rules_;
};

// The profile of `grpoctl reward score` without a configuration: math_answer (weight 1) and format_tags (weight 1).
RewardProfileOptions DefaultRewardProfile();

}  // namespace grpo

#endif  // GRPO_REWARD_PROFILE_H_
