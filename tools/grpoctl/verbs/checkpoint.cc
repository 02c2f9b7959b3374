// grpoctl checkpoint: saves after the current step.
#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "common/exit_codes.h"
#include "tools/grpoctl/client/connection.h"
#include "tools/grpoctl/text.h"
#include "tools/grpoctl/verb.h"

namespace grpo {
namespace {

int Checkpoint(const ConnectionFlags& flags) {
  const absl::StatusOr<TrainerConnection> connection = TrainerConnection::Open(flags);
  if (!connection.ok()) return Fail(connection.status());
  const auto response = connection->Call(&v1::TrainerService::Stub::SaveCheckpoint, v1::SaveCheckpointRequest());
  if (!response.ok()) return Fail(response.status());
  const v1::CheckpointStatus& checkpoint = response->checkpoint();
  std::cerr << "stage " << Printable(checkpoint.stage()) << ", step " << checkpoint.step() << "\n";
  std::cout << Printable(checkpoint.path()) << std::endl;
  return kExitOk;
}

}  // namespace

void AddCheckpointVerb(CLI::App& app, int* exit_code) {
  const auto flags = std::make_shared<ConnectionFlags>();
  // The answer comes when the current step is done and the files are on disk.
  flags->deadline_s = 600;
  CLI::App* verb = AddSubcommand(
      app, "checkpoint", "Save a run's state after its current step; prints the checkpoint's folder",
      "  grpoctl checkpoint\n"
      "  grpoctl checkpoint --run-dir runs/quickstart",
      [flags] { return Checkpoint(*flags); }, exit_code);
  AddConnectionFlags(*verb, flags.get());
}

}  // namespace grpo
