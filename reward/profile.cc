#include "reward/profile.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/rpc/check_message.h"
#include "common/sha256.h"
#include "common/status_macros.h"
#include "common/thread.h"
#include "configs/load.h"

namespace grpo {
namespace {

using std::chrono::steady_clock;

const std::string& TypeOf(const std::string& name, const RuleOptions& options) {
  return options.type.empty() ? name : options.type;
}

Section WithAbsolutePath(const std::string& folder, const std::string& key, const Section& options) {
  namespace fs = std::filesystem;
  const fs::path given = SectionText(options, key).value_or("");
  std::error_code error;
  const fs::path path = fs::absolute(fs::path(folder) / given, error).lexically_normal();
  return error ? options : WithText(options, key, path.string());
}

double WeightFor(const RuleOptions& options, const v1::Prompt& prompt) {
  if (options.weight_for.empty()) return options.weight;
  const auto source = prompt.metadata().fields().find("source");
  if (source == prompt.metadata().fields().end()) return options.weight;
  const auto found = options.weight_for.find(source->second.string_value());
  return found == options.weight_for.end() ? options.weight : found->second;
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
  if (options.clip_min > options.clip_max) {
    errors.push_back(absl::InvalidArgumentError(
        absl::StrCat("rewards.", name, ".clip_min ", options.clip_min, " is above clip_max ", options.clip_max)));
  }
  for (auto& [rule_name, rule_options] : profile->options_.rules) {
    const std::string& type = TypeOf(rule_name, rule_options);
    absl::StatusOr<Section> resolved = ResolveRuleOptions(type, rule_options.rule);
    if (!resolved.ok()) {
      errors.push_back(resolved.status());
      continue;
    }
    if (rule_options.clip_min > rule_options.clip_max) {
      errors.push_back(SectionError(rule_options.rule, "clip_min",
                                    absl::StrCat(rule_options.clip_min, " is above clip_max ", rule_options.clip_max)));
    }
    absl::StatusOr<std::unique_ptr<Rule>> rule = MakeRule(type, rule_options.rule);
    rule_options.rule = *std::move(resolved);
    if (!rule.ok()) {
      errors.push_back(rule.status());
      continue;
    }
    const auto& all = ListRules();
    const auto info = std::find_if(all.begin(), all.end(), [&](const RuleInfo& i) { return i.name == type; });
    const ValueRange range = (*rule)->Range().value_or(ValueRange{info->min_value, info->max_value});
    const RuleNeeds needs = (*rule)->Needs();
    profile->rules_.push_back({rule_name, rule_options, range, *std::move(rule), needs});
  }
  RETURN_IF_ERROR(JoinErrors(errors));
  RETURN_IF_ERROR(profile->Connect());
  profile->ref_.set_name(name);
  profile->ref_.set_sha256(Sha256Hex(DumpOptions(profile->options_)));
  return profile;
}

absl::Status RewardProfile::Connect() {
  std::vector<std::string> names;
  for (const WeightedRule& rule : rules_) names.push_back(rule.name);
  std::vector<absl::Status> errors;
  const auto find = [&](const WeightedRule& rule, const char* key, const std::string& name) {
    if (name.empty()) return -1;
    const auto found = std::find(names.begin(), names.end(), name);
    if (found != names.end()) return static_cast<int>(found - names.begin());
    errors.push_back(
        SectionError(rule.options.rule, key,
                     absl::StrCat("the profile has no rule \"", name, "\" for it; ", SuggestName(name, names))));
    return -1;
  };
  for (WeightedRule& rule : rules_) {
    rule.basis = find(rule, "basis", rule.needs.basis);
    rule.gate = find(rule, "when.rule", rule.options.when.rule);
    needs_group_ |= rule.needs.group;
  }
  RETURN_IF_ERROR(JoinErrors(errors));
  for (WeightedRule& rule : rules_) {
    if (rule.basis >= 0 && (rules_[rule.basis].needs.group || !rules_[rule.basis].needs.basis.empty())) {
      errors.push_back(SectionError(rule.options.rule, "basis",
                                    absl::StrCat("\"", rules_[rule.basis].name,
                                                 "\" builds on other completions or rules itself; name one that "
                                                 "judges the completion alone")));
    }
  }
  for (const bool with_basis : {false, true}) {
    for (size_t i = 0; i < rules_.size(); ++i) {
      if ((rules_[i].basis >= 0) == with_basis) order_.push_back(i);
    }
  }
  return JoinErrors(errors);
}

v1::Score RewardProfile::Score(absl::string_view completion, const v1::Prompt& prompt, bool explain) const {
  const RuleInput input{.completion = completion, .prompt = prompt, .explain = explain};
  v1::Score score = ScoreAlone(input);
  FinishGroup({&input, 1}, {&score, 1});
  return score;
}

v1::Score RewardProfile::ScoreAlone(const RuleInput& input, std::string* unavailable) const {
  v1::Score score;
  for (const WeightedRule& rule : rules_) score.add_rules()->set_name(rule.name);
  for (const size_t i : order_) {
    if (!rules_[i].needs.group) ScoreOne(rules_[i], input, &score, unavailable);
  }
  if (!needs_group_) Mix(input.prompt, &score);
  return score;
}

void RewardProfile::FinishGroup(absl::Span<const RuleInput> group, absl::Span<v1::Score> scores,
                                std::string* unavailable) const {
  if (!needs_group_) return;
  for (size_t r = 0; r < rules_.size(); ++r) {
    const WeightedRule& rule = rules_[r];
    if (!rule.needs.group) continue;
    std::vector<RuleInput> inputs(group.begin(), group.end());
    for (size_t i = 0; i < group.size(); ++i) {
      if (rule.basis >= 0) inputs[i].basis = &scores[i].rules(rule.basis);
    }
    const auto begin = steady_clock::now();
    std::vector<RuleResult> results;
    std::string failure = "it did not answer once for each completion";
    const auto lacks_ids = [](const RuleInput& input) { return input.ids.empty() && !input.completion.empty(); };
    try {
      if (rule.needs.ids && std::any_of(inputs.begin(), inputs.end(), lacks_ids)) {
        failure = "it counts tokens, and no token ids were sent";
      } else {
        results = rule.rule->ScoreGroup(inputs);
      }
    } catch (...) {
      results.clear();
      failure = WhatWasThrown();
    }
    if (results.size() != group.size()) {
      LogRuleError(rule, group[0].prompt, failure);
      results.assign(group.size(), {.outcome = v1::OUTCOME_RULE_ERROR, .decided_by = failure});
    }
    const auto took = (steady_clock::now() - begin) / group.size();
    for (size_t i = 0; i < group.size(); ++i) {
      Take(rule, group[i], std::move(results[i]), &scores[i], unavailable);
      const v1::RuleScore& score = scores[i].rules(static_cast<int>(r));
      rule.stats->Add(score.outcome(), score.value(), took);
    }
  }
  for (size_t i = 0; i < group.size(); ++i) Mix(group[i].prompt, &scores[i]);
}

v1::Score RewardProfile::Unscored(v1::Outcome outcome) const {
  v1::Score score;
  for (const WeightedRule& rule : rules_) {
    v1::RuleScore& rule_score = *score.add_rules();
    rule_score.set_name(rule.name);
    rule_score.set_outcome(outcome);
    rule.stats->Add(outcome, 0, {});
  }
  Mix(v1::Prompt::default_instance(), &score);
  return score;
}

void RewardProfile::ScoreOne(const WeightedRule& rule, RuleInput input, v1::Score* score,
                             std::string* unavailable) const {
  const v1::RuleScore& rule_score = score->rules(PositionOf(rule));
  if (rule.basis >= 0) input.basis = &score->rules(rule.basis);
  const auto begin = steady_clock::now();
  RuleResult result = {.outcome = v1::OUTCOME_RULE_ERROR};
  // Rules promise not to throw; the library calls in them may (std::bad_alloc), and one bad row must not cost its
  // neighbours.
  try {
    if (rule.needs.ids && input.ids.empty() && !input.completion.empty()) {
      result.decided_by = "it counts tokens, and no token ids were sent";
      LogRuleError(rule, input.prompt, result.decided_by);
    } else {
      result = rule.rule->Score(input);
    }
  } catch (...) {
    result.decided_by = WhatWasThrown();
    LogRuleError(rule, input.prompt, result.decided_by);
  }
  Take(rule, input, std::move(result), score, unavailable);
  rule.stats->Add(rule_score.outcome(), rule_score.value(), steady_clock::now() - begin);
}

void RewardProfile::Take(const WeightedRule& rule, const RuleInput& input, RuleResult result, v1::Score* whole,
                         std::string* unavailable) const {
  // Mix adds what the outcomes say.
  if (result.excluded) whole->set_excluded(true);
  v1::RuleScore* const score = whole->mutable_rules(PositionOf(rule));
  if (result.decided_by.empty()) result.decided_by = result.unavailable;
  if (!result.unavailable.empty() && unavailable != nullptr && unavailable->empty()) {
    *unavailable = absl::StrCat("rule ", rule.name, ": ", result.unavailable);
  }
  score->set_outcome(v1::OUTCOME_RULE_ERROR);
  const bool scored = result.outcome == v1::OUTCOME_SCORED;
  // Written so that NaN is out of range.
  const bool in_range = scored ? result.value >= rule.range.min && result.value <= rule.range.max : result.value == 0;
  if (in_range && result.outcome != v1::OUTCOME_UNSPECIFIED && v1::Outcome_IsValid(result.outcome)) {
    score->set_outcome(result.outcome);
    score->set_value(result.value);
  } else {
    LogRuleError(rule, input.prompt,
                 absl::StrCat("outcome ", result.outcome, " with value ", result.value, ", its range is ",
                              rule.range.min, " to ", rule.range.max));
  }
  score->set_extracted(std::move(result.extracted));
  score->set_decided_by(std::move(result.decided_by));
  score->set_reference_form(std::move(result.reference_form));
  score->set_answer_form(std::move(result.answer_form));
  // Others take no longer texts, and no decided_by that is cut within a character.
  rpc::CutTexts(score);
}

// A rule that fails does so on many completions, and the log is not to be flooded; but each rule has its own count, or
// the first failure of one would be lost among those of another.
void RewardProfile::LogRuleError(const WeightedRule& rule, const v1::Prompt& prompt, const std::string& what) {
  const uint64_t count = ++*rule.num_failures;
  if ((count & (count - 1)) != 0) return;
  spdlog::error(
      "reward rule {} failed on a completion of prompt \"{}\": {}; its sample is left out (failure {} of this rule)",
      rule.name, prompt.id(), what, count);
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

void RewardProfile::Mix(const v1::Prompt& prompt, v1::Score* score) const {
  v1::Outcome gravest = v1::OUTCOME_SCORED;
  double value = 0;
  bool excluded = score->excluded();
  for (size_t i = 0; i < rules_.size(); ++i) {
    const WeightedRule& rule = rules_[i];
    v1::RuleScore& rule_score = *score->mutable_rules(static_cast<int>(i));
    const bool open = rule.gate < 0 || (score->rules(rule.gate).outcome() == v1::OUTCOME_SCORED &&
                                        score->rules(rule.gate).value() >= rule.options.when.at_least);
    rule_score.set_weight(open ? WeightFor(rule.options, prompt) : 0);
    gravest = std::max(gravest, rule_score.outcome());
    // What is not scored is 0, also where the clip would make more of it.
    if (rule_score.outcome() == v1::OUTCOME_SCORED) {
      value += rule_score.weight() * std::clamp(rule_score.value(), rule.options.clip_min, rule.options.clip_max);
    }
    excluded |= Excludes(rule_score.outcome());
  }
  score->set_outcome(gravest);
  score->set_value(std::clamp(value, options_.clip_min, options_.clip_max));
  score->set_excluded(excluded);
}

absl::Status RewardProfile::CheckReference(const v1::Prompt& prompt) const {
  for (const WeightedRule& rule : rules_) {
    RETURN_IF_ERROR(
        Annotate(rule.rule->CheckReference(prompt), absl::StrCat("prompt \"", prompt.id(), "\", rule ", rule.name)));
  }
  return absl::OkStatus();
}

absl::Status RewardProfile::Prepare() const {
  std::vector<absl::Status> errors;
  for (const WeightedRule& rule : rules_) {
    errors.push_back(Annotate(rule.rule->Prepare(), absl::StrCat("rewards.", ref_.name(), ".rules.", rule.name)));
  }
  return JoinErrors(errors);
}

void RewardProfile::AppendMetrics(RuleMetricsText* text) const {
  for (const WeightedRule& rule : rules_) text->Add(ref_.name(), rule.name, *rule.stats);
}

RewardProfileOptions DefaultRewardProfile() {
  RewardProfileOptions options;
  options.rules["math_answer"];
  options.rules["format_tags"];
  return options;
}

void ResolveRewardPaths(const std::string& folder, std::map<std::string, RewardProfileOptions>* rewards) {
  for (auto& [profile_name, profile] : *rewards) {
    for (auto& [name, rule] : profile.rules) {
      for (const RuleInfo& info : ListRules()) {
        if (info.name != TypeOf(name, rule)) continue;
        for (const std::string& key : info.path_keys) rule.rule = WithAbsolutePath(folder, key, rule.rule);
      }
    }
  }
}

}  // namespace grpo
