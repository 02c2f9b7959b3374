// A reward profile: rules with weights, mixed into one Score per completion (docs/design.md law 1: never a silent
// zero).
//
//   value = clip(sum over the rules whose gate is open of weight(source of the prompt) * clip(raw value))
//
// Every rule's raw value is kept in the score. A score's outcome is the gravest of its rules' (the order of
// v1::Outcome). It is excluded when a rule says so (RuleResult::excluded), when the outcome of any rule is our failure
// (reference_unparsable, deadline, rule_error), or is the completion's (no_answer, undecided, over_budget) and the
// profile says "exclude" for it. A rule that throws, leaves its range, or needs token ids where none were sent, is a
// rule_error; of each rule the 1st, 2nd, 4th, 8th, ... is logged.
#ifndef GRPO_REWARD_PROFILE_H_
#define GRPO_REWARD_PROFILE_H_

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "proto/types.pb.h"
#include "reward/options.h"
#include "reward/rule.h"
#include "reward/rule_stats.h"

namespace grpo {

// Thread-safe.
class RewardProfile {
 public:
  // InvalidArgument as MakeRule, when there is no rule, or for a rule that refers to one that is not there or to itself
  // in the end.
  static absl::StatusOr<std::unique_ptr<RewardProfile>> Make(const std::string& name,
                                                             const RewardProfileOptions& options);

  // A completion as a group of its own. `explain` fills the forms of every rule's score.
  v1::Score Score(absl::string_view completion, const v1::Prompt& prompt, bool explain = false) const;

  // Whether some rule needs the whole group.
  bool needs_group() const { return needs_group_; }
  // The score of one completion by the rules that look at it alone; whole when there are no others, else
  // FinishGroup must follow. `unavailable`, if given, takes RuleResult::unavailable of a rule that says so.
  v1::Score ScoreAlone(const RuleInput& input, std::string* unavailable = nullptr) const;
  // Adds what the rules about groups say; `scores` are those of ScoreAlone for the whole group.
  void FinishGroup(absl::Span<const RuleInput> group, absl::Span<v1::Score> scores,
                   std::string* unavailable = nullptr) const;

  // The score of a completion that no rule has seen: every rule has this outcome, which is not SCORED.
  v1::Score Unscored(v1::Outcome outcome) const;
  // The first rule that cannot read the prompt's reference answer.
  absl::Status CheckReference(const v1::Prompt& prompt) const;
  // Rule::Prepare of every rule; all errors together.
  absl::Status Prepare() const;

  // Name and SHA-256 (hex) of options() as YAML (DumpOptions).
  const v1::RewardProfileRef& ref() const { return ref_; }
  // With the rules' own options resolved: every key present.
  const RewardProfileOptions& options() const { return options_; }
  // Adds this profile's counters to the text of GET /metrics.
  void AppendMetrics(RuleMetricsText* text) const;

 private:
  struct WeightedRule {
    std::string name;
    RuleOptions options;
    ValueRange range;
    std::unique_ptr<const Rule> rule;
    RuleNeeds needs = {};
    // Positions of RuleNeeds::basis and of the gate's rule; -1 for none.
    int basis = -1, gate = -1;
    std::unique_ptr<RuleStats> stats = std::make_unique<RuleStats>();
    // That were rule_errors of its own making.
    std::unique_ptr<std::atomic<uint64_t>> num_failures = std::make_unique<std::atomic<uint64_t>>(0);
  };

  // For tests with rules that misbehave.
  friend class RewardProfilePeer;

  RewardProfile() = default;
  // Finds bases, gates and the order of work.
  absl::Status Connect();
  void ScoreOne(const WeightedRule& rule, RuleInput input, v1::Score* score, std::string* unavailable) const;
  int PositionOf(const WeightedRule& rule) const { return static_cast<int>(&rule - rules_.data()); }
  // Takes over what a rule said of this completion, unless it breaks its promises; `whole` is the completion's score.
  void Take(const WeightedRule& rule, const RuleInput& input, RuleResult result, v1::Score* whole,
            std::string* unavailable) const;
  // Counts a failure of the rule, and logs it unless many have been by now.
  static void LogRuleError(const WeightedRule& rule, const v1::Prompt& prompt, const std::string& what);
  bool Excludes(v1::Outcome outcome) const;
  // Sums up score->rules.
  void Mix(const v1::Prompt& prompt, v1::Score* score) const;

  v1::RewardProfileRef ref_;
  RewardProfileOptions options_;
  // In the options' order.
  std::vector<WeightedRule> rules_;
  // Positions in rules_, each behind its basis.
  std::vector<size_t> order_;
  bool needs_group_ = false;
};

// The profile of `grpoctl reward score` without a configuration: math_answer (weight 1) and format_tags (weight 1).
RewardProfileOptions DefaultRewardProfile();

// Paths of rules are relative to the configuration's folder; makes them absolute.
void ResolveRewardPaths(const std::string& folder, std::map<std::string, RewardProfileOptions>* rewards);

}  // namespace grpo

#endif  // GRPO_REWARD_PROFILE_H_
