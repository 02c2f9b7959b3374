// grpoctl completions: what a run sampled, with its scores, read from its folder.
#include "tools/grpoctl/records/completions.h"

#include <iostream>
#include <memory>

#include "common/exit_codes.h"
#include "tools/grpoctl/client/connection.h"
#include "tools/grpoctl/verb.h"

namespace grpo {
namespace {

struct CompletionsFlags {
  std::string run_dir;
  CompletionsQuery query{.stage = {}, .step = {}, .prompt_id = {}, .where = "", .limit = 20};
  OutputFormat format = OutputFormat::kTable;
};

int Completions(const CompletionsFlags& flags) {
  const absl::StatusOr<std::string> run_dir = ResolveRunDir(flags.run_dir);
  if (!run_dir.ok()) return Fail(run_dir.status());
  const absl::StatusOr<std::unique_ptr<CompletionsReader>> reader = CompletionsReader::Open(*run_dir);
  if (!reader.ok()) return Fail(reader.status());
  const absl::StatusOr<std::vector<StoredCompletion>> found = (*reader)->Select(flags.query);
  if (!found.ok()) {
    Fail(found.status());
    // What is wrong is on the command line.
    return absl::IsInvalidArgument(found.status()) ? kExitUsage : ExitCodeFor(found.status());
  }
  std::cout << (flags.format == OutputFormat::kJson ? CompletionsJson(*found) : CompletionsText(*found)) << std::flush;
  if (found->empty()) std::cerr << "grpoctl: no completion matches\n";
  return kExitOk;
}

}  // namespace

void AddCompletionsVerb(CLI::App& app, int* exit_code) {
  const auto flags = std::make_shared<CompletionsFlags>();
  CLI::App* verb = AddSubcommand(
      app, "completions", "What a run sampled, with its scores",
      "  grpoctl completions --stage r1_zero --step 100\n"
      "  grpoctl completions --run-dir runs/quickstart --where 'reward < 0.5 AND num_tokens > 60' --limit 5\n"
      "  grpoctl completions --where \"rules ->> '$.math_answer.value' = 0\" --output json",
      [flags] { return Completions(*flags); }, exit_code);
  AddRunDirFlag(*verb, &flags->run_dir);
  verb->add_option("--stage", flags->query.stage, "Only of this stage");
  verb->add_option("--step", flags->query.step, "Only of this step");
  verb->add_option("--prompt", flags->query.prompt_id, "Only of the problem with this id");
  verb->add_option("--where", flags->query.where, "Only where this SQL expression over the columns is true");
  verb->add_option("--limit", flags->query.limit, "At most so many, the first that were sampled (default: 20)")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40));
  AddOutputOption(*verb, &flags->format);
}

}  // namespace grpo
