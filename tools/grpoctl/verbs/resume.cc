// grpoctl resume: lifts a pause.
#include <memory>

#include "tools/grpoctl/client/control.h"

namespace grpo {

void AddResumeVerb(CLI::App& app, int* exit_code) {
  const auto flags = std::make_shared<ConnectionFlags>();
  CLI::App* verb = AddSubcommand(
      app, "resume", "Lift a pause (a run that has ended goes on with `grpoctl run --resume`)",
      "  grpoctl resume\n"
      "  grpoctl resume --run-dir runs/quickstart",
      [flags] { return Control(*flags, &v1::TrainerService::Stub::Resume, v1::ResumeRequest()); }, exit_code);
  AddConnectionFlags(*verb, flags.get());
}

}  // namespace grpo
