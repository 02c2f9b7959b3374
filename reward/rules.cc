#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "configs/load.h"
#include "reward/rule.h"
#include "reward/rule_plugin.h"

namespace grpo {

#define REWARD_RULE(rule) RewardRulePlugin RewardRule_##rule();
#include "reward/rules.inc"
#undef REWARD_RULE

namespace {

// In the order of rules.inc.
const std::vector<RewardRulePlugin>& Plugins() {
  static const auto* plugins = [] {
    auto* all = new std::vector<RewardRulePlugin>;
#define REWARD_RULE(rule)              \
  all->push_back(RewardRule_##rule()); \
  all->back().info.name = #rule;
#include "reward/rules.inc"
#undef REWARD_RULE
    return all;
  }();
  return *plugins;
}

absl::StatusOr<const RewardRulePlugin*> FindPlugin(const std::string& name, const Section& options) {
  std::vector<std::string> names;
  for (const RewardRulePlugin& plugin : Plugins()) {
    if (plugin.info.name == name) return &plugin;
    names.push_back(plugin.info.name);
  }
  return SectionError(options, "", absl::StrCat("there is no reward rule \"", name, "\"; ", SuggestName(name, names)));
}

}  // namespace

const std::vector<RuleInfo>& ListRules() {
  static const auto* rules = [] {
    auto* all = new std::vector<RuleInfo>;
    for (const RewardRulePlugin& plugin : Plugins()) all->push_back(plugin.info);
    return all;
  }();
  return *rules;
}

absl::StatusOr<std::unique_ptr<Rule>> MakeRule(const std::string& name, const Section& options) {
  ASSIGN_OR_RETURN(const RewardRulePlugin* plugin, FindPlugin(name, options));
  return plugin->make(options);
}

absl::StatusOr<Section> ResolveRuleOptions(const std::string& name, const Section& options) {
  ASSIGN_OR_RETURN(const RewardRulePlugin* plugin, FindPlugin(name, options));
  return plugin->resolve(options);
}

}  // namespace grpo
