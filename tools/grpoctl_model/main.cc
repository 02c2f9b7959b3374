// grpoctl-model: the verbs of grpoctl that run a model, which is why this binary links torch and grpoctl does not.
#include <string>

#include "CLI/CLI.hpp"
#include "common/exit_codes.h"
#include "common/log.h"
#include "common/thread.h"
#include "common/version.h"
#include "tools/grpoctl/verb.h"
#include "tools/grpoctl_model/bench/verbs.h"
#include "tools/grpoctl_model/verbs.h"

namespace {

int Main(int argc, char** argv) {
  // To stderr, whatever says it: stdout is for results.
  grpo::InitLogging("grpoctl-model");
  CLI::App app("Runs models for grpoctl.", "grpoctl");
  app.set_version_flag("--version", std::string("grpoctl-model ") + grpo::kBuild);
  app.require_subcommand(1);
  int exit_code = grpo::kExitOk;
  grpo::AddModelVerbs(app, &exit_code);
  grpo::AddModelBenchVerbs(app, &exit_code);
  return grpo::ParseCommandLine(app, argc, argv, exit_code);
}

}  // namespace

int main(int argc, char** argv) {
  return grpo::Guarded("grpoctl-model", [&] { return Main(argc, argv); });
}
