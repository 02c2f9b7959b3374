#include "tools/grpoctl/client/status_text.h"

#include <map>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "google/protobuf/util/json_util.h"
#include "tools/grpoctl/client/progress.h"
#include "tools/grpoctl/text.h"
#include "trainer/status/run_state.h"

namespace grpo {
namespace {

using Rows = std::vector<std::vector<std::string>>;

std::string EnumName(const std::string& name, absl::string_view prefix) {
  return absl::AsciiStrToLower(absl::StripPrefix(name, prefix));
}

std::string PolicyName(const v1::PolicyRef& policy) {
  return policy.policy_id().empty() ? "-" : absl::StrCat(Printable(policy.policy_id()), " @ ", policy.number());
}

std::string Seconds(int64_t milliseconds) {
  return absl::StrFormat("%.1f s", static_cast<double>(milliseconds) / 1000);
}

// "3 wrong_role, 1 other_run", by name.
std::string RefusedCallers(const v1::RunStatus& status) {
  std::map<std::string, int64_t> by_reason;
  for (const auto& refused : status.refused_callers()) by_reason[refused.first] = refused.second;
  std::vector<std::string> parts;
  for (const auto& [reason, num_callers] : by_reason)
    parts.push_back(absl::StrCat(num_callers, " ", Printable(reason)));
  return absl::StrCat("callers: ", absl::StrJoin(parts, ", "));
}

std::string Overview(const v1::RunStatus& status) {
  Rows rows = {{"run", Printable(status.run_name()) + " (" + Printable(status.run_id()) + ")"}};
  rows.push_back(
      {"state", StateName(status.state()) + (status.phase().empty() ? "" : " (" + Printable(status.phase()) + ")")});
  if (!status.state_reason().empty()) rows.push_back({"reason", Printable(status.state_reason())});
  rows.push_back({"policy", PolicyName(status.policy())});
  if (!status.device().empty()) rows.push_back({"device", Printable(status.device())});
  rows.push_back({"running for", FormatClock(status.elapsed_seconds())});
  if (status.has_stage_remaining_seconds())
    rows.push_back({"stage ends in", FormatClock(status.stage_remaining_seconds())});
  const v1::LeaseCounters& leases = status.leases();
  rows.push_back(
      {"groups",
       absl::StrFormat("%d pending, %d leased, %d ready; %d expired, %d refused, %d duplicate, %d quarantined",
                       leases.num_pending(), leases.num_leased(), leases.num_ready(), leases.num_expired_total(),
                       leases.num_refused_total(), leases.num_duplicate_total(), leases.num_quarantined_total())});
  if (!status.last_checkpoint().path().empty()) {
    const v1::CheckpointStatus& checkpoint = status.last_checkpoint();
    const std::string age = checkpoint.age_ms() > 0 ? ", " + Seconds(checkpoint.age_ms()) + " ago" : "";
    rows.push_back({"checkpoint", absl::StrFormat("%s (stage %s, step %d%s)", Printable(checkpoint.path()),
                                                  Printable(checkpoint.stage()), checkpoint.step(), age)});
  }
  if (!status.last_checkpoint().error().empty())
    rows.push_back({"SAVE FAILED", Printable(status.last_checkpoint().error())});
  if (!status.refused_callers().empty()) rows.push_back({"refused", RefusedCallers(status)});
  for (const std::string& alert : status.alerts()) rows.push_back({"ALERT", Printable(alert)});
  rows.push_back({"run folder", Printable(status.run_dir())});
  std::string text;
  for (const auto& row : rows) absl::StrAppendFormat(&text, "%-14s %s\n", row[0], row[1]);
  return text;
}

std::string Stages(const v1::RunStatus& status) {
  Rows rows = {{"stage", "type", "state", "step", "seconds", "metrics"}};
  for (const v1::StageStatus& stage : status.stages()) {
    rows.push_back({Printable(stage.name()), Printable(stage.type()),
                    EnumName(v1::StageState_Name(stage.state()), "STAGE_STATE_"),
                    absl::StrFormat("%d/%d", stage.step(), stage.num_steps()), absl::StrFormat("%.1f", stage.seconds()),
                    absl::StrJoin(MetricFields(stage), ", ")});
  }
  return FormatTable(rows);
}

std::string Workers(const v1::RunStatus& status) {
  Rows rows = {{"worker", "state", "last seen", "policy", "leases", "tokens", "blocked by"}};
  for (const v1::WorkerStatus& worker : status.workers()) {
    const std::string blocked = worker.blocked_reason().empty() ? ""
                                                                : absl::StrCat(Printable(worker.blocked_reason()), " (",
                                                                               Seconds(worker.blocked_for_ms()), ")");
    rows.push_back({Printable(worker.name()), EnumName(v1::WorkerState_Name(worker.state()), "WORKER_STATE_"),
                    Seconds(worker.last_seen_ms()), PolicyName(worker.held_policy()), absl::StrCat(worker.num_leases()),
                    FormatCount(worker.num_tokens_generated()), blocked});
  }
  return FormatTable(rows);
}

std::string RewardServers(const v1::RunStatus& status) {
  Rows rows = {{"reward server", "state", "last seen", "address", "profiles"}};
  for (const v1::RewardServerStatus& server : status.reward_servers()) {
    std::vector<std::string> profiles;
    for (const v1::RewardProfileRef& profile : server.profiles()) profiles.push_back(Printable(profile.name()));
    rows.push_back({Printable(server.name()), EnumName(v1::WorkerState_Name(server.state()), "WORKER_STATE_"),
                    Seconds(server.last_seen_ms()), Printable(server.address()), absl::StrJoin(profiles, ", ")});
  }
  return FormatTable(rows);
}

std::string Ranks(const v1::RunStatus& status) {
  Rows rows = {{"rank", "phase", "for"}};
  for (const v1::RankStatus& rank : status.ranks())
    rows.push_back({absl::StrCat(rank.rank()), Printable(rank.phase()), Seconds(rank.phase_for_ms())});
  return FormatTable(rows);
}

}  // namespace

std::string StatusTable(const v1::RunStatus& status) {
  std::string text = absl::StrCat(Overview(status), "\n", Stages(status));
  if (status.ranks_size() > 1) absl::StrAppend(&text, "\n", Ranks(status));
  if (status.workers_size() > 0) absl::StrAppend(&text, "\n", Workers(status));
  if (status.reward_servers_size() > 0) absl::StrAppend(&text, "\n", RewardServers(status));
  if (status.num_unlisted() > 0) absl::StrAppend(&text, "\n", status.num_unlisted(), " more are not listed\n");
  return text;
}

std::string StatusJson(const v1::RunStatus& status, bool indented) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = indented;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  std::string text;
  const auto converted = google::protobuf::util::MessageToJsonString(status, &text, options);
  return converted.ok() ? text : absl::StrCat("{\"error\":\"", converted.message().ToString(), "\"}");
}

}  // namespace grpo
