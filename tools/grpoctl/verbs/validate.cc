// grpoctl validate: what a configuration means and costs; touches nothing.
#include <iostream>
#include <memory>

#include "common/exit_codes.h"
#include "tools/grpoctl/estimate.h"
#include "tools/grpoctl/verb.h"
#include "trainer/run_config.h"

namespace grpo {
namespace {

struct ValidateFlags {
  std::string config;
  std::vector<std::string> overrides;
};

int Validate(const ValidateFlags& flags) {
  const absl::StatusOr<LoadedConfig> loaded = LoadRunConfig(flags.config, flags.overrides);
  if (!loaded.ok()) return Fail(loaded.status());
  const absl::StatusOr<std::string> estimate = EstimateText(loaded->config);
  if (!estimate.ok()) return Fail(estimate.status());
  std::cout << loaded->resolved_yaml << "\n" << *estimate << std::flush;
  return kExitOk;
}

}  // namespace

void AddValidateVerb(CLI::App& app, int* exit_code) {
  const auto flags = std::make_shared<ValidateFlags>();
  CLI::App* verb = AddSubcommand(
      app, "validate", "Check a configuration; show it resolved, its batch arithmetic and its memory",
      "  grpoctl validate configs/quickstart.yaml\n"
      "  grpoctl validate my.yaml --set rollout_worker.slots=128",
      [flags] { return Validate(*flags); }, exit_code);
  verb->add_option("CONFIG", flags->config, "YAML file")->required();
  verb->add_option("--set", flags->overrides, "Override a key; may be repeated")
      ->allow_extra_args(false)
      ->option_text("KEY=VALUE");
}

}  // namespace grpo
