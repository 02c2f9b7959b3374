// grpoctl stop: ends a run after its current step; it can be resumed.
#include <memory>

#include "tools/grpoctl/client/control.h"

namespace grpo {

void AddStopVerb(CLI::App& app, int* exit_code) {
  const auto flags = std::make_shared<ConnectionFlags>();
  CLI::App* verb = AddSubcommand(
      app, "stop", "End a run after its current step, with a checkpoint",
      "  grpoctl stop\n"
      "  grpoctl stop --run-dir runs/quickstart",
      [flags] { return Control(*flags, &v1::TrainerService::Stub::Stop, v1::StopRequest()); }, exit_code);
  AddConnectionFlags(*verb, flags.get());
}

}  // namespace grpo
