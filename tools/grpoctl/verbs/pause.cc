// grpoctl pause: no further step until `grpoctl resume`.
#include <memory>

#include "tools/grpoctl/client/control.h"

namespace grpo {

void AddPauseVerb(CLI::App& app, int* exit_code) {
  const auto flags = std::make_shared<ConnectionFlags>();
  const auto request = std::make_shared<v1::PauseRequest>();
  CLI::App* verb = AddSubcommand(
      app, "pause", "Stop a run before its next step, until resume",
      "  grpoctl pause\n"
      "  grpoctl pause --run-dir runs/quickstart --reason 'machine needed'",
      [flags, request] { return Control(*flags, &v1::TrainerService::Stub::Pause, *request); }, exit_code);
  AddConnectionFlags(*verb, flags.get());
  verb->add_option("--reason", *request->mutable_reason(), "Shown in the run's status (default: how to go on)")
      ->option_text("TEXT");
}

}  // namespace grpo
