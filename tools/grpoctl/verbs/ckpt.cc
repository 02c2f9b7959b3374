// grpoctl ckpt ls, grpoctl ckpt verify: a run's checkpoints, read from its folder.
#include <iostream>
#include <memory>

#include "common/exit_codes.h"
#include "tools/grpoctl/client/connection.h"
#include "tools/grpoctl/records/checkpoints.h"
#include "tools/grpoctl/verb.h"

namespace grpo {
namespace {

struct CkptFlags {
  std::string run_dir;
  std::string name;
  OutputFormat format = OutputFormat::kTable;
};

int Ls(const CkptFlags& flags) {
  const absl::StatusOr<std::string> run_dir = ResolveRunDir(flags.run_dir);
  if (!run_dir.ok()) return Fail(run_dir.status());
  const absl::StatusOr<std::vector<CheckpointInfo>> checkpoints = ListCheckpoints(*run_dir);
  if (!checkpoints.ok()) return Fail(checkpoints.status());
  std::cout << (flags.format == OutputFormat::kJson ? CheckpointsJson(*checkpoints) : CheckpointsTable(*checkpoints))
            << std::flush;
  return kExitOk;
}

int Verify(const CkptFlags& flags) {
  const absl::StatusOr<std::string> run_dir = ResolveRunDir(flags.run_dir);
  if (!run_dir.ok()) return Fail(run_dir.status());
  const absl::StatusOr<std::vector<VerifiedCheckpoint>> verified = VerifyCheckpoints(*run_dir, flags.name);
  if (!verified.ok()) return Fail(verified.status());
  std::cout << (flags.format == OutputFormat::kJson ? VerifiedJson(*verified) : VerifiedTable(*verified)) << std::flush;
  if (AllWhole(*verified)) return kExitOk;
  std::cerr << "grpoctl: some checkpoints are broken; `grpoctl run --resume` goes on from the newest whole one\n";
  return kExitData;
}

}  // namespace

void AddCkptVerb(CLI::App& app, int* exit_code) {
  CLI::App* ckpt = app.add_subcommand("ckpt", "The checkpoints in a run's folder");
  ckpt->footer(
      "  grpoctl ckpt ls --run-dir runs/quickstart\n"
      "  grpoctl ckpt verify --run-dir runs/quickstart");
  ckpt->require_subcommand(1);
  const auto flags = std::make_shared<CkptFlags>();
  CLI::App* ls = AddSubcommand(
      *ckpt, "ls", "List them, from oldest to newest: stage, step, size, age",
      "  grpoctl ckpt ls\n"
      "  grpoctl ckpt ls --run-dir runs/quickstart --output json",
      [flags] { return Ls(*flags); }, exit_code);
  CLI::App* verify = AddSubcommand(
      *ckpt, "verify", "Read every file and compare it with its hash; exit code 65 when one is broken",
      "  grpoctl ckpt verify\n"
      "  grpoctl ckpt verify --run-dir runs/quickstart step-000000000120",
      [flags] { return Verify(*flags); }, exit_code);
  verify->add_option("NAME", flags->name, "One checkpoint (default: all, and LATEST)");
  for (CLI::App* verb : {ls, verify}) {
    AddRunDirFlag(*verb, &flags->run_dir);
    AddOutputOption(*verb, &flags->format);
  }
}

}  // namespace grpo
