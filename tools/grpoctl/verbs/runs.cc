// grpoctl runs: the runs under a folder, one line each.
#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/clock.h"
#include "common/exit_codes.h"
#include "tools/grpoctl/client/run_list.h"
#include "tools/grpoctl/text.h"
#include "tools/grpoctl/verb.h"

namespace grpo {
namespace {

// So many folders without a run are named; the rest are counted.
constexpr size_t kNumNamed = 5;

struct RunsFlags {
  std::string folder = "runs";
  double deadline_s = 1;
  OutputFormat format = OutputFormat::kTable;
};

void SayOthers(const std::string& folder, const std::vector<std::string>& others) {
  if (others.empty()) return;
  std::vector<std::string> named;
  for (size_t i = 0; i < others.size() && i < kNumNamed; ++i) named.push_back(Printable(others[i]));
  std::cerr << "grpoctl: no run was started in " << others.size() << " of the folders in " << Printable(folder) << ": "
            << absl::StrJoin(named, ", ") << (others.size() > kNumNamed ? ", ..." : "")
            << "; `grpoctl runs DIR` lists what is in one of them\n";
}

int Runs(const RunsFlags& flags) {
  const absl::StatusOr<RunList> list =
      ListRuns(flags.folder, {.deadline = absl::Seconds(flags.deadline_s)}, Clock::Real());
  if (!list.ok()) return Fail(list.status());
  SayOthers(flags.folder, list->others);
  if (list->runs.empty()) std::cerr << "grpoctl: there is no run in " << Printable(flags.folder) << "\n";
  std::cout << (flags.format == OutputFormat::kJson ? RunsJson(list->runs) : RunsTable(list->runs)) << std::flush;
  return kExitOk;
}

}  // namespace

void AddRunsVerb(CLI::App& app, int* exit_code) {
  const auto flags = std::make_shared<RunsFlags>();
  CLI::App* verb = AddSubcommand(
      app, "runs", "List the runs in a folder: state, stage and step, reward, age, host; the newest first",
      "  grpoctl runs\n"
      "  grpoctl runs /shared/team/runs --output json",
      [flags] { return Runs(*flags); }, exit_code);
  verb->add_option("DIR", flags->folder, "Folder that holds the runs' folders, or one of those")->capture_default_str();
  verb->add_option("--deadline", flags->deadline_s, "Seconds to wait for the answer of one trainer")
      ->capture_default_str()
      ->check(CLI::Range(0.01, 60.0))
      ->option_text("SECONDS");
  AddOutputOption(*verb, &flags->format);
}

}  // namespace grpo
