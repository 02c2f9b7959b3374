// What a file in rules/ defines. rules/x.cc with the line REWARD_RULE(x) in rules.inc holds
//
//   RewardRulePlugin RewardRule_x() {
//     return MakeRewardRulePlugin<XOptions, XRule>("One sentence.", /*min=*/0, /*max=*/1);
//   }
//
// where XOptions declares the rule's keys (configs/visit.h) and XRule is a Rule that is constructed from them; or,
// where not every value of the keys makes a rule, that has
//   static absl::StatusOr<std::unique_ptr<Rule>> Create(const XOptions& options, const Section& section);
// whose errors name key and place with SectionError(section, "key", ...). Keys that are paths, relative to the
// configuration's folder, are named in XOptions by
//   static std::vector<std::string> PathKeys();
#ifndef GRPO_REWARD_RULE_PLUGIN_H_
#define GRPO_REWARD_RULE_PLUGIN_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "common/status_macros.h"
#include "configs/load.h"
#include "reward/rule.h"

namespace grpo {

// An entry of rules.inc.
struct RewardRulePlugin {
  // Its name is filled by the registry.
  RuleInfo info;
  // MakeRule's, for this rule.
  std::function<absl::StatusOr<std::unique_ptr<Rule>>(const Section& options)> make;
  // The same options with every key present.
  std::function<absl::StatusOr<Section>(const Section& options)> resolve;
};

template <class Options>
std::vector<std::string> PathKeysOf() {
  if constexpr (requires { Options::PathKeys(); }) {
    return Options::PathKeys();
  } else {
    return {};
  }
}

// min_value and max_value are the range with default options; a rule whose keys change it says so in Range().
template <class Options, class RuleType>
RewardRulePlugin MakeRewardRulePlugin(std::string summary, double min_value, double max_value) {
  return {.info = {.summary = std::move(summary),
                   .min_value = min_value,
                   .max_value = max_value,
                   .reference_table = ReferenceTable<Options>(),
                   .path_keys = PathKeysOf<Options>()},
          .make = [](const Section& section) -> absl::StatusOr<std::unique_ptr<Rule>> {
            Options options;
            RETURN_IF_ERROR(LoadOptions(section, &options));
            if constexpr (requires { RuleType::Create(options, section); }) {
              return RuleType::Create(options, section);
            } else {
              return std::make_unique<RuleType>(options);
            }
          },
          .resolve = [](const Section& section) -> absl::StatusOr<Section> {
            Options options;
            RETURN_IF_ERROR(LoadOptions(section, &options));
            return ToSection(options, section);
          }};
}

}  // namespace grpo

#endif  // GRPO_REWARD_RULE_PLUGIN_H_
