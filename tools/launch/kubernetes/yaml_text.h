// JSON as YAML that people read: maps and lists over several lines, keys in their order, and a text of several lines as
// it is. Pure; any thread.
#ifndef GRPO_TOOLS_LAUNCH_KUBERNETES_YAML_TEXT_H_
#define GRPO_TOOLS_LAUNCH_KUBERNETES_YAML_TEXT_H_

#include <string>
#include <vector>

#include "nlohmann/json.hpp"

namespace grpo {

// One file of several documents, each a map or list that is not empty. Texts that are not UTF-8 get U+FFFD where they
// are not.
std::string YamlText(const std::vector<nlohmann::ordered_json>& documents);

}  // namespace grpo

#endif  // GRPO_TOOLS_LAUNCH_KUBERNETES_YAML_TEXT_H_
