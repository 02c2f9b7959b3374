// grpoctl doctor: whether this machine has what a run needs, and what to do where it does not.
#include "tools/doctor/doctor.h"

#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "common/exit_codes.h"
#include "common/rpc/endpoint.h"
#include "tools/doctor/config_check.h"
#include "tools/grpoctl/client/connection.h"
#include "tools/grpoctl/local/local_run.h"
#include "tools/grpoctl/verb.h"
#include "trainer/run_config.h"
#include "trainer/status/run_state.h"

namespace grpo {
namespace {

namespace fs = std::filesystem;

struct DoctorFlags {
  std::string config;
  std::vector<std::string> overrides;
  ConnectionFlags connection;
  OutputFormat format = OutputFormat::kTable;
};

// Those that were built, grpoctl-model among them.
std::vector<std::string> BuiltPrograms() {
  const absl::StatusOr<Programs> found = FindPrograms();
  if (!found.ok()) return {};
  std::vector<std::string> programs = {found->trainer, found->rollout_worker, found->reward_server};
  std::error_code error;
  const fs::path model = fs::read_symlink("/proc/self/exe", error).parent_path() / "grpoctl-model";
  if (fs::exists(model, error)) programs.push_back(model.string());
  return programs;
}

bool NamesATrainer(const ConnectionFlags& flags) {
  std::error_code error;
  return !flags.address.empty() || (!flags.run_dir.empty() && fs::exists(RunEndpointPath(flags.run_dir), error));
}

// Whether the trainer that the command line names answers this machine and this user.
CheckResult CheckTrainer(const ConnectionFlags& flags) {
  Findings findings;
  const absl::StatusOr<TrainerConnection> connection = TrainerConnection::Open(flags);
  const absl::StatusOr<v1::RunStatus> status =
      connection.ok() ? connection->Call(&v1::TrainerService::Stub::GetStatus, v1::GetStatusRequest())
                      : connection.status();
  if (status.ok()) {
    findings.Ok(absl::StrCat("run ", status->run_id(), " answers at ", connection->client->address(), ": ",
                             StateName(status->state())));
  } else {
    findings.Problem(std::string(status.status().message()), "", ExitCodeFor(status.status(), kExitUnavailable));
  }
  return {"trainer", findings.list()};
}

int Doctor(const DoctorFlags& flags) {
  std::optional<absl::StatusOr<LoadedConfig>> loaded;
  if (!flags.config.empty()) loaded = LoadRunConfig(flags.config, flags.overrides);
  const bool usable = loaded.has_value() && loaded->ok();
  Subject subject{.machine = ThisMachine(), .run_dir = flags.connection.run_dir, .programs = BuiltPrograms()};
  if (usable) subject.config = &(*loaded)->config;
  if (subject.run_dir.empty()) subject.run_dir = usable ? absl::StrCat("runs/", subject.config->run.name) : "runs";
  std::vector<CheckResult> results;
  if (loaded.has_value()) results.push_back(CheckConfig(*loaded, subject.run_dir));
  for (CheckResult& result : RunChecks(subject)) results.push_back(std::move(result));
  if (NamesATrainer(flags.connection)) results.push_back(CheckTrainer(flags.connection));
  std::cout << (flags.format == OutputFormat::kJson ? FindingsJson(results) : FindingsText(results)) << std::flush;
  return ExitCodeOf(results);
}

}  // namespace

void AddDoctorVerb(CLI::App& app, int* exit_code) {
  const auto flags = std::make_shared<DoctorFlags>();
  CLI::App* verb = AddSubcommand(
      app, "doctor", "Check this machine, and with CONFIG whether it will do for that run; says what to do",
      "  grpoctl doctor\n"
      "  grpoctl doctor configs/quickstart.yaml --run-dir /shared/runs/quickstart\n"
      "  grpoctl doctor --address trainer.example:41327 --output json",
      [flags] { return Doctor(*flags); }, exit_code);
  CLI::Option* const config = verb->add_option("CONFIG", flags->config, "Run configuration (YAML)");
  verb->add_option("--set", flags->overrides, "Override a key; may be repeated")
      ->allow_extra_args(false)
      ->option_text("KEY=VALUE")
      ->needs(config);
  AddConnectionFlags(*verb, &flags->connection);
  AddOutputOption(*verb, &flags->format);
}

}  // namespace grpo
