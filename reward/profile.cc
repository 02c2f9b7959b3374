#include "reward/profile.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "configs/load.h"

namespace grpo {
namespace {

// A rule that fails does so on many completions: the 1st, 2nd, 4th, 8th, ... failure is logged, so that the log is not
// flooded.
void LogRuleError(const std::string& rule, const v1::Prompt& prompt, const std::string& what) {
  static std::atomic<uint64_t> num_failures{0};
  const uint64_t count = ++num_failures;
  if ((count & (count - 1)) != 0) return;
  spdlog::error(
      "reward rule {} failed on a completion of prompt \"{}\": {}; its sample is left out (failure {} of this process)",
      rule, prompt.id(), what, count);
}

}  // namespace

absl::StatusOr<std::unique_ptr<RewardProfile>> RewardProfile::Make(const std::string& name,
                                                                   const RewardProfileOptions& options) {
  if (options.rules.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("rewards.", name, ".rules is empty: name at least one rule"));
  }
  auto profile = std::unique_ptr<RewardProfile>(new RewardProfile);
  profile->options_ = options;
  std::vector<absl::Status> errors;
  for (auto& [rule_name, rule_options] : profile->options_.rules) {
    absl::StatusOr<Section> resolved = ResolveRuleOptions(rule_name, rule_options.rule);
    if (!resolved.ok()) {
      errors.push_back(resolved.status());
      continue;
    }
    rule_options.rule = *std::move(resolved);
    ASSIGN_OR_RETURN(std::unique_ptr<const Rule> rule, MakeRule(rule_name, rule_options.rule));
    const auto& all = ListRules();
    const auto info = std::find_if(all.begin(), all.end(), [&](const RuleInfo& i) { return i.name == rule_name; });
    profile->rules_.push_back({rule_name, rule_options.weight, info->min_value, info->max_value, std::move(rule)});
  }
  RETURN_IF_ERROR(JoinErrors(errors));
  profile->ref_.set_name(name);
  profile->ref_.set_sha256(Sha256Hex(DumpOptions(profile->options_)));
  return profile;
}

v1::Score RewardProfile::Score(absl::string_view completion, const v1::Prompt& prompt, bool explain) const {
  v1::Score score;
  for (const WeightedRule& rule : rules_) *score.add_rules() = ScoreOne(rule, {completion, prompt, explain});
  Mix(&score);
  return score;
}

v1::Score RewardProfile::Unscored(v1::Outcome outcome) const {
  v1::Score score;
  for (const WeightedRule& rule : rules_) {
    v1::RuleScore& rule_score = *score.add_rules();
    rule_score.set_name(rule.name);
    rule_score.set_weight(rule.weight);
    rule_score.set_outcome(outcome);
  }
  Mix(&score);
  return score;
}

v1::RuleScore RewardProfile::ScoreOne(const WeightedRule& rule, const RuleInput& input) const {
  v1::RuleScore score;
  score.set_name(rule.name);
  score.set_weight(rule.weight);
  score.set_outcome(v1::OUTCOME_RULE_ERROR);
  // Rules promise not to throw; the library calls in them may (std::bad_alloc), and one bad row must not cost its
  // neighbours.
  try {
    const RuleResult result = rule.rule->Score(input);
    const bool scored = result.outcome == v1::OUTCOME_SCORED;
    // Written so that NaN is out of range.
    const bool in_range = scored ? result.value >= rule.min_value && result.value <= rule.max_value : result.value == 0;
    if (in_range && result.outcome != v1::OUTCOME_UNSPECIFIED) {
      score.set_outcome(result.outcome);
      score.set_value(result.value);
    } else {
      LogRuleError(rule.name, input.prompt,
                   absl::StrCat("outcome ", result.outcome, " with value ", result.value, ", its range is ",
                                rule.min_value, " to ", rule.max_value));
    }
    score.set_extracted(result.extracted);
    score.set_decided_by(result.decided_by);
    score.set_reference_form(result.reference_form);
    score.set_answer_form(result.answer_form);
  } catch (const std::exception& error) {
    LogRuleError(rule.name, input.prompt, error.what());
  }
  return score;
}

bool RewardProfile::Excludes(v1::Outcome outcome) const {
  switch (outcome) {
    case v1::OUTCOME_SCORED:
      return false;
    case v1::OUTCOME_NO_ANSWER:
      return options_.no_answer == "exclude";
    case v1::OUTCOME_UNDECIDED:
      return options_.undecided == "exclude";
    case v1::OUTCOME_OVER_BUDGET:
      return options_.over_budget == "exclude";
    default:
      return true;
  }
}

void RewardProfile::Mix(v1::Score* score) const {
  v1::Outcome gravest = v1::OUTCOME_SCORED;
  double value = 0;
  bool excluded = false;
  for (const v1::RuleScore& rule : score->rules()) {
    gravest = std::max(gravest, rule.outcome());
    value += rule.weight() * rule.value();
    excluded |= Excludes(rule.outcome());
  }
  score->set_outcome(gravest);
  score->set_value(value);
  score->set_excluded(excluded);
}

absl::Status RewardProfile::CheckReference(const v1::Prompt& prompt) const {
  for (const WeightedRule& rule : rules_) {
    RETURN_IF_ERROR(
        Annotate(rule.rule->CheckReference(prompt), absl::StrCat("prompt \"", prompt.id(), "\", rule ", rule.name)));
  }
  return absl::OkStatus();
}

RewardProfileOptions DefaultRewardProfile() {
  RewardProfileOptions options;
  options.rules["math_answer"];
  options.rules["format_tags"];
  return options;
}

}  // namespace grpo
