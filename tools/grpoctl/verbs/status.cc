// grpoctl status: one snapshot of a running trainer.
#include <iostream>
#include <memory>

#include "common/exit_codes.h"
#include "tools/grpoctl/client/connection.h"
#include "tools/grpoctl/client/status_text.h"
#include "tools/grpoctl/verb.h"

namespace grpo {
namespace {

int Status(const ConnectionFlags& flags, OutputFormat format) {
  const absl::StatusOr<TrainerConnection> connection = TrainerConnection::Open(flags);
  if (!connection.ok()) return Fail(connection.status());
  const auto status = connection->Call(&v1::TrainerService::Stub::GetStatus, v1::GetStatusRequest());
  if (!status.ok()) return Fail(status.status());
  std::cout << (format == OutputFormat::kJson ? StatusJson(*status, /*indented=*/true) : StatusTable(*status))
            << std::flush;
  return kExitOk;
}

}  // namespace

void AddStatusVerb(CLI::App& app, int* exit_code) {
  const auto flags = std::make_shared<ConnectionFlags>();
  const auto format = std::make_shared<OutputFormat>(OutputFormat::kTable);
  CLI::App* verb = AddSubcommand(
      app, "status", "Show what a run is doing",
      "  grpoctl status\n"
      "  grpoctl status --run-dir runs/quickstart --output json\n"
      "  grpoctl status --address 127.0.0.1:41327\n"
      "  grpoctl status --on slurm --job 42",
      [flags, format] { return Status(*flags, *format); }, exit_code);
  AddConnectionFlags(*verb, flags.get());
  AddOutputOption(*verb, format.get());
}

}  // namespace grpo
