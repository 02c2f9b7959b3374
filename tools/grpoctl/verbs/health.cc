// grpoctl health: the standard gRPC health check, for people and for probes.
#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "common/exit_codes.h"
#include "tools/grpoctl/client/connection.h"
#include "tools/grpoctl/text.h"
#include "tools/grpoctl/verb.h"

namespace grpo {
namespace {

int Health(const ConnectionFlags& flags) {
  const absl::StatusOr<TrainerConnection> connection = TrainerConnection::Open(flags);
  if (!connection.ok()) return Fail(connection.status());
  const std::string& address = connection->client->address();
  const absl::Status health = rpc::CheckHealth(*connection->client, connection->deadline);
  if (!health.ok())
    return Fail(absl::UnavailableError(absl::StrCat(address, " is not healthy: ", Printable(health.message()))));
  std::cout << "SERVING" << std::endl;
  return kExitOk;
}

}  // namespace

void AddHealthVerb(CLI::App& app, int* exit_code) {
  const auto flags = std::make_shared<ConnectionFlags>();
  CLI::App* verb = AddSubcommand(
      app, "health", "Ask a server of a run (the trainer, or any by --address) whether it serves; 0 if so, 69 if not",
      "  grpoctl health\n"
      "  grpoctl health --address 127.0.0.1:41327",
      [flags] { return Health(*flags); }, exit_code);
  AddConnectionFlags(*verb, flags.get());
}

}  // namespace grpo
