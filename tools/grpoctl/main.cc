// grpoctl: runs, watches and controls a training run. Results go to stdout, talk to stderr; exit codes in
// common/exit_codes.h.
#include <iostream>

#include "CLI/CLI.hpp"
#include "common/exit_codes.h"
#include "common/log.h"
#include "common/thread.h"
#include "common/version.h"
#include "tools/grpoctl/text.h"
#include "tools/grpoctl/verb.h"

namespace grpo {
#define GRPOCTL_VERB(name) void Add##name##Verb(CLI::App& app, int* exit_code);
#include "tools/grpoctl/verbs.inc"
#undef GRPOCTL_VERB
}  // namespace grpo

namespace {

int Main(int argc, char** argv) {
  // To stderr, whatever says it: stdout is for results.
  grpo::InitLogging("grpoctl");
  CLI::App app("Reinforcement learning of language models from rule-based rewards.", "grpoctl");
  app.footer(
      "  grpoctl run configs/quickstart.yaml\n"
      "  grpoctl status\n"
      "  grpoctl watch --run-dir runs/quickstart\n"
      "  grpoctl run --resume --run-dir runs/quickstart");
  app.set_version_flag("--version", std::string("grpoctl ") + grpo::kBuild);
  app.require_subcommand(1);
  int exit_code = grpo::kExitOk;
#define GRPOCTL_VERB(name) grpo::Add##name##Verb(app, &exit_code);
#include "tools/grpoctl/verbs.inc"
#undef GRPOCTL_VERB
  // CLI11 would only say that a verb is missing.
  const char* verb = argc > 1 ? argv[1] : "";
  if (*verb != '\0' && *verb != '-' &&
      app.get_subcommands([verb](CLI::App* known) { return known->check_name(verb); }).empty()) {
    std::cerr << "grpoctl: there is no verb " << grpo::Printable(verb) << "; `grpoctl --help` lists them\n";
    return grpo::kExitUsage;
  }
  return grpo::ParseCommandLine(app, argc, argv, exit_code);
}

}  // namespace

int main(int argc, char** argv) {
  return grpo::Guarded("grpoctl", [&] { return Main(argc, argv); });
}
