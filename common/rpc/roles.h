// Who a caller is by its certificate, and what it may call. Pure; thread-safe. No gRPC.
//
// A certificate that a run made for itself (certificates.h) says so by a name of its own kind, beside those of hosts:
//
//   URI:grpo://RUN_ID/ROLE
#ifndef GRPO_COMMON_RPC_ROLES_H_
#define GRPO_COMMON_RPC_ROLES_H_

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace grpo::rpc {

// The columns of roles.inc, in its order.
enum class CallerRole { kTrainer, kWorker, kRewardServer, kOperator, kViewer };
inline constexpr std::array<CallerRole, 5> kCallerRoles = {
    CallerRole::kTrainer, CallerRole::kWorker, CallerRole::kRewardServer, CallerRole::kOperator, CallerRole::kViewer};

// "trainer", "worker", "reward_server", "operator", "viewer": also the names of a run's files.
absl::string_view CallerRoleName(CallerRole role);

// Whether processes of the role serve.
bool Serves(CallerRole role);

struct CallerIdentity {
  std::string run_id;
  CallerRole role = CallerRole::kViewer;
};

// InvalidArgument for a run id that cannot stand in a certificate: letters, digits, `.`, `_` and `-`, 200 of them at
// most.
absl::Status CheckRunId(absl::string_view run_id);

// "grpo://RUN_ID/ROLE".
std::string IdentityUri(const CallerIdentity& identity);

// What the URIs of a certificate say; nothing when none of them begins with grpo://. InvalidArgument for several that
// do, and for one that names no role.
absl::StatusOr<std::optional<CallerIdentity>> FindIdentity(const std::vector<std::string>& uris);

// roles.inc. `method` is "/package.Service/Method".
bool MayCall(CallerRole role, absl::string_view method);
// "operator or viewer"; "nobody" for a method that no role may call.
std::string WhoMayCall(absl::string_view method);
// Those that have a row, in their order.
std::vector<std::string> MethodsWithRoles();

}  // namespace grpo::rpc

#endif  // GRPO_COMMON_RPC_ROLES_H_
