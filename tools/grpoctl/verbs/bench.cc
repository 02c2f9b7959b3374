// grpoctl bench: fixed work, timed phase by phase. What needs a model is run by the sibling binary grpoctl-model.
#include <string>
#include <utility>
#include <vector>

#include "tools/grpoctl/sibling.h"
#include "tools/grpoctl/verb.h"

namespace grpo {
namespace {

// A subcommand of which everything that follows, --help too, is the sibling's.
void AddSiblingBench(CLI::App& bench, const std::string& name, const std::string& summary, int* exit_code) {
  CLI::App* verb = bench.add_subcommand(name, summary);
  verb->prefix_command()->set_help_flag();
  verb->callback([verb, name, exit_code] {
    std::vector<std::string> arguments = verb->remaining();
    arguments.insert(arguments.begin(), {"bench", name});
    *exit_code = RunSibling(std::move(arguments));
  });
}

}  // namespace

void AddBenchVerb(CLI::App& app, int* exit_code) {
  CLI::App* bench = app.add_subcommand("bench", "Fixed work, timed phase by phase: rollout, step, publish");
  bench->footer(
      "  grpoctl bench rollout --model models/smollm2-135m --dtype bfloat16 --threads 2\n"
      "  grpoctl bench step --model models/smollm2-135m --prompts 4 --new-tokens 64 --json");
  bench->require_subcommand(1);
  AddSiblingBench(*bench, "rollout", "Sample groups with the engine", exit_code);
  AddSiblingBench(*bench, "step", "A trainer's step, or with --whole all of a step", exit_code);
  AddSiblingBench(*bench, "publish", "A new version of the weights on its way to a worker", exit_code);
}

}  // namespace grpo
