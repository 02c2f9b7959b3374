#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "tools/launch/run_plan.h"

namespace grpo {
namespace {

// Keys in the order in which they are added.
using json = nlohmann::ordered_json;

absl::string_view Placeholder(Late late) {
  switch (late) {
    case Late::kNone:
      return "";
    case Late::kAttempt:
      return "<attempt>";
    case Late::kRestarts:
      return "<restarts>";
    case Late::kPort:
      return "<port>";
    case Late::kTrainerAddress:
      return "<trainer address>";
    case Late::kRendezvousPort:
      return "<rendezvous port>";
    case Late::kLockFd:
      return "<lock fd>";
  }
  return "";
}

json WordsJson(const std::vector<Word>& words) {
  json texts = json::array();
  for (const Word& word : words) texts.push_back(absl::StrCat(word.text, Placeholder(word.late)));
  return texts;
}

json ProcessJson(const PlannedProcess& process) {
  json document = {{"name", process.name}, {"role", RoleName(process.role)}, {"host", process.host}};
  if (!process.starter.argv.empty()) document["start_with"] = process.starter.argv;
  document["argv"] = WordsJson(process.argv);
  if (!process.environment.empty()) document["environment"] = WordsJson(process.environment);
  document["log"] = process.log_path;
  if (process.port > 0 || !process.endpoint_path.empty()) document["port"] = process.port;
  if (!process.endpoint_path.empty()) document["endpoint"] = process.endpoint_path;
  document["after"] = process.after;
  if (!process.reads.empty()) document["reads"] = process.reads;
  if (!process.keeps.empty()) document["keeps"] = process.keeps;
  return document;
}

// {"running": {"killed": {"rollout_worker": "restart"}}}; rank 0 and the other ranks as "trainer" and "trainer-N".
json RulesJson() {
  json rules;
  for (const Phase phase : kPhases) {
    for (const Exit exit : kExits) {
      for (const Role role : kRoles) {
        const std::string name(role == Role::kTrainerRank ? "trainer-N" : RoleName(role));
        rules[std::string(Name(phase))][std::string(Name(exit))][name] = Name(ReactionTo(phase, exit, role));
      }
    }
  }
  return rules;
}

}  // namespace

std::string PlanJson(const RunPlan& plan) {
  json document = {{"run_id", plan.run_id}, {"run_dir", plan.run_dir}, {"hosts", plan.hosts}, {"shared", plan.shared}};
  document["processes"] = json::array();
  for (const PlannedProcess& process : plan.processes) document["processes"].push_back(ProcessJson(process));
  document["when_one_ends"] = RulesJson();
  return document.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace grpo
