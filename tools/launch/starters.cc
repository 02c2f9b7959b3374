#include "tools/launch/starters.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"
#include "tools/launch/target.h"

namespace grpo {
namespace {

using json = nlohmann::ordered_json;

constexpr int64_t kMaxBytes = 1 << 20;
// Of Linux.
constexpr int kMaxSignal = 64;

bool IsRole(const std::string& name) {
  return std::any_of(kRoles.begin(), kRoles.end(), [&](Role role) { return RoleName(role) == name; });
}

// Whether `entry` is as StartersJson writes one.
bool IsStarter(const json& entry) {
  if (!entry.is_object() || !entry.contains("argv") || !entry["argv"].is_array() || entry["argv"].empty()) return false;
  for (const json& word : entry["argv"]) {
    if (!word.is_string()) return false;
  }
  for (const char* key : {"stop_signal", "kill_signal"}) {
    if (!entry.contains(key) || !entry[key].is_number_integer()) return false;
    if (entry[key].get<int64_t>() < 1 || entry[key].get<int64_t>() > kMaxSignal) return false;
  }
  return true;
}

}  // namespace

std::string StartersJson(const std::map<std::string, Starter>& starters) {
  json document = json::object();
  for (const auto& [role, starter] : starters) {
    document[role] = {
        {"argv", starter.argv}, {"stop_signal", starter.stop_signal}, {"kill_signal", starter.kill_signal}};
  }
  return document.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

absl::StatusOr<std::map<std::string, Starter>> ReadStarters(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxBytes));
  const json document = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!document.is_object() || document.empty())
    return absl::InvalidArgumentError(absl::StrCat(path, ": is no JSON object of roles"));
  std::map<std::string, Starter> starters;
  for (const auto& [role, entry] : document.items()) {
    if (!IsRole(role) || !IsStarter(entry)) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ": \"", role,
          "\" must be trainer, rollout_worker or reward_server, with argv (texts), stop_signal and kill_signal"));
    }
    Starter& starter = starters[role];
    starter.argv = entry["argv"].get<std::vector<std::string>>();
    ASSIGN_OR_RETURN(starter.argv[0], FindInPath(starter.argv[0]));
    starter.stop_signal = entry["stop_signal"].get<int>();
    starter.kill_signal = entry["kill_signal"].get<int>();
  }
  return starters;
}

}  // namespace grpo
