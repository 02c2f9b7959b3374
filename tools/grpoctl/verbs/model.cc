// grpoctl model: run by the sibling binary grpoctl-model.
#include <string>
#include <vector>

#include "tools/grpoctl/sibling.h"
#include "tools/grpoctl/verb.h"

namespace grpo {

void AddModelVerb(CLI::App& app, int* exit_code) {
  CLI::App* model =
      app.add_subcommand("model", "A model's folder: inspect, tokenize, logprobs, generate, export, prune");
  // Everything that follows, --help too, is the sibling's.
  model->prefix_command()->set_help_flag();
  model->callback([model, exit_code] {
    std::vector<std::string> arguments = model->remaining();
    arguments.insert(arguments.begin(), "model");
    *exit_code = RunSibling(std::move(arguments));
  });
}

}  // namespace grpo
