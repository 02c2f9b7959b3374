// grpoctl watch: progress of a running trainer until it ends.
#include <unistd.h>

#include <iostream>
#include <memory>

#include "common/exit_codes.h"
#include "tools/grpoctl/client/connection.h"
#include "tools/grpoctl/client/progress.h"
#include "tools/grpoctl/client/status_stream.h"
#include "tools/grpoctl/client/status_text.h"
#include "tools/grpoctl/verb.h"

namespace grpo {
namespace {

constexpr absl::Duration kInterval = absl::Milliseconds(200);

int Watch(const ConnectionFlags& flags, OutputFormat format) {
  const absl::StatusOr<TrainerConnection> connection = TrainerConnection::Open(flags);
  if (!connection.ok()) return Fail(connection.status());
  v1::RunState state = v1::RUN_STATE_UNSPECIFIED;
  ProgressPrinter printer(std::cout, StyleFor(STDOUT_FILENO), Clock::Real());
  StatusStream stream(*connection);
  const absl::Status ended = stream.Read(kInterval, [&](const v1::RunStatus& status) {
    state = status.state();
    if (format == OutputFormat::kJson) {
      std::cout << StatusJson(status, /*indented=*/false) << std::endl;
    } else {
      printer.Show(status);
    }
    if (!std::cout) stream.Cancel();
  });
  if (!std::cout) return kExitIo;
  return ended.ok() ? ExitCodeOf(state) : Fail(ended);
}

}  // namespace

void AddWatchVerb(CLI::App& app, int* exit_code) {
  const auto flags = std::make_shared<ConnectionFlags>();
  const auto format = std::make_shared<OutputFormat>(OutputFormat::kTable);
  CLI::App* verb = AddSubcommand(
      app, "watch", "Follow a run's progress until it ends",
      "  grpoctl watch\n"
      "  grpoctl watch --run-dir runs/quickstart\n"
      "  grpoctl watch --on slurm --job 42\n"
      "  grpoctl watch --output json | jq .state",
      [flags, format] { return Watch(*flags, *format); }, exit_code);
  AddConnectionFlags(*verb, flags.get());
  AddOutputOption(*verb, format.get());
}

}  // namespace grpo
