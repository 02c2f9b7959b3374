// grpoctl bench: fixed work, timed phase by phase. What needs a model is run by the sibling binary grpoctl-model.
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/exit_codes.h"
#include "tools/grpoctl/bench/options.h"
#include "tools/grpoctl/bench/reward_bench.h"
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

struct RewardFlags {
  RewardBenchOptions bench = {.threads = std::thread::hardware_concurrency()};
  OutputFormat format = OutputFormat::kTable;
};

int RunReward(const RewardFlags& flags) {
  const absl::StatusOr<BenchReport> report = BenchReward(flags.bench);
  if (!report.ok()) return Fail(report.status());
  std::cout << BenchText(*report, flags.format == OutputFormat::kJson) << std::flush;
  return kExitOk;
}

void AddReward(CLI::App& bench, int* exit_code) {
  const auto flags = std::make_shared<RewardFlags>();
  CLI::App* verb = AddSubcommand(
      bench, "reward", "Score made-up completions with the default rules, without a server",
      "  grpoctl bench reward --threads 2\n"
      "  grpoctl bench reward --prompts 1000 --group 16 --repeats 9 --json",
      [flags] { return RunReward(*flags); }, exit_code);
  AddCount(*verb, "--prompts", flags->bench.prompts, "Reference answers");
  AddCount(*verb, "--group", flags->bench.group, "Completions of each");
  AddTimingOptions(*verb, &flags->bench.threads, &flags->bench.seed, &flags->bench.repeats, &flags->format);
}

}  // namespace

void AddBenchVerb(CLI::App& app, int* exit_code) {
  CLI::App* bench = app.add_subcommand("bench", "Fixed work, timed phase by phase: rollout, step, publish, reward");
  bench->footer(
      "  grpoctl bench rollout --model models/smollm2-135m --dtype bfloat16 --threads 2\n"
      "  grpoctl bench step --model models/smollm2-135m --prompts 4 --new-tokens 64 --json");
  bench->require_subcommand(1);
  AddSiblingBench(*bench, "rollout", "Sample groups with the engine", exit_code);
  AddSiblingBench(*bench, "step", "A trainer's step, or with --whole all of a step", exit_code);
  AddSiblingBench(*bench, "publish", "A new version of the weights on its way to a worker", exit_code);
  AddReward(*bench, exit_code);
}

}  // namespace grpo
