#include "common/rpc/roles.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"

namespace grpo::rpc {
namespace {

constexpr char kScheme[] = "grpo://";
constexpr size_t kMaxRunIdBytes = 200;

// A row of roles.inc.
struct Row {
  const char* method;
  std::array<bool, kCallerRoles.size()> may_call;
};

constexpr bool no = false, yes = true;
constexpr Row kRows[] = {
#define GRPO_MAY_CALL(method, trainer, worker, reward_server, operator_, viewer) \
  {method, {trainer, worker, reward_server, operator_, viewer}},
#include "common/rpc/roles.inc"
#undef GRPO_MAY_CALL
};

const Row* FindRow(absl::string_view method) {
  const auto* const found = std::find_if(std::begin(kRows), std::end(kRows),
                                         [&](const Row& row) { return method == absl::string_view(row.method); });
  return found == std::end(kRows) ? nullptr : found;
}

std::optional<CallerRole> FindRole(absl::string_view name) {
  for (const CallerRole role : kCallerRoles) {
    if (CallerRoleName(role) == name) return role;
  }
  return std::nullopt;
}

bool IsRunIdCharacter(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-';
}

}  // namespace

absl::string_view CallerRoleName(CallerRole role) {
  switch (role) {
    case CallerRole::kTrainer:
      return "trainer";
    case CallerRole::kWorker:
      return "worker";
    case CallerRole::kRewardServer:
      return "reward_server";
    case CallerRole::kOperator:
      return "operator";
    case CallerRole::kViewer:
      return "viewer";
  }
  return "";
}

bool Serves(CallerRole role) {
  return role == CallerRole::kTrainer || role == CallerRole::kRewardServer;
}

absl::Status CheckRunId(absl::string_view run_id) {
  if (!run_id.empty() && run_id.size() <= kMaxRunIdBytes && std::all_of(run_id.begin(), run_id.end(), IsRunIdCharacter))
    return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the run id \"", run_id,
                                                 "\" cannot stand in a certificate: it must be 1 to ", kMaxRunIdBytes,
                                                 " letters, digits, '.', '_' and '-'"));
}

std::string IdentityUri(const CallerIdentity& identity) {
  return absl::StrCat(kScheme, identity.run_id, "/", CallerRoleName(identity.role));
}

absl::StatusOr<std::optional<CallerIdentity>> FindIdentity(const std::vector<std::string>& uris) {
  std::optional<CallerIdentity> identity;
  for (const std::string& uri : uris) {
    absl::string_view rest = uri;
    if (!absl::ConsumePrefix(&rest, kScheme)) continue;
    const size_t slash = rest.find('/');
    const std::optional<CallerRole> role =
        slash == absl::string_view::npos ? std::nullopt : FindRole(rest.substr(slash + 1));
    if (!role.has_value() || !CheckRunId(rest.substr(0, slash)).ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the certificate's name ", uri, " is not grpo://RUN_ID/ROLE with a role that there is"));
    }
    if (identity.has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the certificate names two roles, ", IdentityUri(*identity), " and ", uri));
    }
    identity = CallerIdentity{.run_id = std::string(rest.substr(0, slash)), .role = *role};
  }
  return identity;
}

bool MayCall(CallerRole role, absl::string_view method) {
  const Row* const row = FindRow(method);
  return row != nullptr && row->may_call[static_cast<size_t>(role)];
}

std::string WhoMayCall(absl::string_view method) {
  std::vector<absl::string_view> names;
  for (const CallerRole role : kCallerRoles) {
    if (MayCall(role, method)) names.push_back(CallerRoleName(role));
  }
  return names.empty() ? "nobody" : absl::StrJoin(names, " or ");
}

std::vector<std::string> MethodsWithRoles() {
  std::vector<std::string> methods;
  for (const Row& row : kRows) methods.emplace_back(row.method);
  return methods;
}

}  // namespace grpo::rpc
