// grpoctl logs: what each process of a run said.
#include <iostream>
#include <memory>

#include "absl/time/clock.h"
#include "common/exit_codes.h"
#include "tools/grpoctl/client/connection.h"
#include "tools/grpoctl/client/log_follower.h"
#include "tools/grpoctl/verb.h"

namespace grpo {
namespace {

struct LogsFlags {
  std::string run_dir;
  JobFlags job;
  std::string role;
  bool follow = false;
  int num_lines = 50;
};

int Logs(const LogsFlags& flags) {
  const absl::StatusOr<std::string> run_dir = flags.job.given() ? RunDirOfJob(flags.job) : ResolveRunDir(flags.run_dir);
  if (!run_dir.ok()) return Fail(run_dir.status());
  LogFollower follower(*run_dir + "/logs", flags.role);
  const absl::Status shown = follower.ShowTails(std::cout, flags.num_lines);
  if (!shown.ok()) return Fail(shown);
  while (flags.follow && std::cout) {
    follower.ShowNew(std::cout);
    absl::SleepFor(absl::Milliseconds(200));
  }
  return kExitOk;
}

}  // namespace

void AddLogsVerb(CLI::App& app, int* exit_code) {
  const auto flags = std::make_shared<LogsFlags>();
  CLI::App* verb = AddSubcommand(
      app, "logs", "Print the last lines of a run's logs",
      "  grpoctl logs\n"
      "  grpoctl logs --run-dir runs/quickstart --role trainer -n 200\n"
      "  grpoctl logs -f --role rollout\n"
      "  grpoctl logs --on slurm --job 42",
      [flags] { return Logs(*flags); }, exit_code);
  AddRunDirFlag(*verb, &flags->run_dir);
  AddJobFlags(*verb, &flags->job);
  verb->add_option("--role", flags->role, "Only logs whose name starts so: trainer, rollout, rollout-1, reward")
      ->option_text("ROLE");
  verb->add_flag("-f,--follow", flags->follow, "Go on with what is written from now on");
  verb->add_option("-n,--lines", flags->num_lines, "Lines of each log")
      ->capture_default_str()
      ->check(CLI::Range(0, 1000000))
      ->option_text("N");
}

}  // namespace grpo
