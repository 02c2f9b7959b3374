// grpoctl validate: what a configuration means and costs, and whether its data, files and models will do; touches
// nothing.
#include <iostream>
#include <memory>

#include "common/exit_codes.h"
#include "common/status_macros.h"
#include "tools/grpoctl/estimate.h"
#include "tools/grpoctl/sibling.h"
#include "tools/grpoctl/verb.h"
#include "tools/launch/gpus.h"
#include "tools/launch/run_plan.h"
#include "trainer/memory_need.h"
#include "trainer/preflight.h"
#include "trainer/run_config.h"
#include "trainer/stage/files.h"

namespace grpo {
namespace {

struct ValidateFlags {
  std::string config;
  std::vector<std::string> overrides;
};

int Validate(const ValidateFlags& flags) {
  const absl::StatusOr<LoadedConfig> loaded = LoadRunConfig(flags.config, flags.overrides);
  if (!loaded.ok()) return Fail(loaded.status());
  Preflight preflight(loaded->config);
  const std::string run_dir = "runs/" + loaded->config.run.name;
  const RunFiles files(loaded->config, run_dir, loaded->data_sha256, /*artifact_sha256=*/{});
  const absl::StatusOr<std::vector<CheckedData>> checked = preflight.CheckAhead(files);
  if (!checked.ok()) return Fail(checked.status());
  const absl::StatusOr<std::string> estimate = EstimateText(loaded->config, preflight, *checked, run_dir);
  if (!estimate.ok()) return Fail(estimate.status());
  const int64_t num_ranks = loaded->config.trainer.ranks;
  const MemoryPlace place = MemoryHere(loaded->config, VisibleGpus());
  if (const absl::Status fits = CheckMemories(loaded->config, preflight, num_ranks, place); !fits.ok()) {
    // They say where the memory goes; nothing of a refused configuration is a result.
    std::cerr << *estimate << "\n";
    return Fail(fits);
  }
  for (const std::string& note : Notes(*checked)) std::cerr << "grpoctl: " << note << "\n";
  // As if it were to run here; what it keeps and shares does not depend on the machines.
  const absl::StatusOr<RunPlan> plan = MakeRunPlan(
      loaded->config,
      {.run_dir = run_dir,
       .run_id = loaded->config.run.name,
       .programs = {.reward_server = "reward_server", .trainer = "trainer", .rollout_worker = "rollout_worker"}});
  if (!plan.ok()) return Fail(plan.status());
  std::cout << loaded->resolved_yaml << "\n" << *estimate << FileSystemText(*plan) << std::flush;
  // Last, because it takes this process's place: trying products out needs what grpoctl does not link.
  if (HasSibling()) return RunSibling({"model", "products", "--output", "table"});
  std::cerr << "grpoctl: which kernels multiply matrices here is said where //tools:grpoctl-model is built too\n";
  return kExitOk;
}

}  // namespace

void AddValidateVerb(CLI::App& app, int* exit_code) {
  const auto flags = std::make_shared<ValidateFlags>();
  CLI::App* verb = AddSubcommand(
      app, "validate",
      "Check a configuration and all that it names; show it resolved, its batch arithmetic, memory and disk",
      "  grpoctl validate configs/quickstart.yaml\n"
      "  grpoctl validate my.yaml --set rollout_worker.slots=128",
      [flags] { return Validate(*flags); }, exit_code);
  verb->add_option("CONFIG", flags->config, "YAML file")->required();
  verb->add_option("--set", flags->overrides, "Override a key; may be repeated")
      ->allow_extra_args(false)
      ->option_text("KEY=VALUE");
}

}  // namespace grpo
