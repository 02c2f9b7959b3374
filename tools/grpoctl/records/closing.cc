#include "tools/grpoctl/records/closing.h"

#include <filesystem>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "tools/grpoctl/records/completions.h"
#include "tools/grpoctl/records/summary.h"
#include "tools/grpoctl/text.h"
#include "trainer/records/completions_format.h"
#include "trainer/stage/stage.h"

namespace grpo {
namespace {

constexpr int kSamplesPerPolicy = 2;
constexpr int kMaxSampleBytes = 400;

std::string Places(const std::string& run_dir, const std::vector<std::string>& artifacts) {
  constexpr std::pair<const char*, const char*> kPlaces[] = {
      {"summary.json", "each stage's figures"},
      {"metrics.jsonl", "one line a step"},
      {kCompletionsFile, "what was sampled, for `grpoctl completions`"},
      {"synthesis", "what became of each problem's completions in synthesis"},
      {"checkpoints", "state to resume from"},
      {"quarantine.jsonl", "prompts that killed their workers"},
      {"config.yaml", "the resolved configuration"},
      {"logs", "what each process said"},
  };
  std::vector<std::vector<std::string>> rows;
  const auto add = [&](const std::string& name, const char* what) {
    const std::string path = absl::StrCat(run_dir, "/", name);
    std::error_code error;
    if (std::filesystem::exists(path, error)) rows.push_back({path, what});
  };
  for (const std::string& artifact : artifacts) {
    std::error_code error;
    const bool is_folder = std::filesystem::is_directory(absl::StrCat(run_dir, "/", artifact), error);
    add(artifact, is_folder ? "a policy as a Hugging Face folder" : "accepted traces, one a line");
  }
  for (const auto& [name, what] : kPlaces) add(name, what);
  return FormatTable(rows);
}

// The first samples of the stage's first problems.
absl::StatusOr<std::string> SampleCompletions(const CompletionsReader& reader, const std::string& stage) {
  ASSIGN_OR_RETURN(
      const std::vector<StoredCompletion> samples,
      reader.Select(
          {.stage = stage, .step = {}, .prompt_id = {}, .where = "sample_index = 0", .limit = kSamplesPerPolicy}));
  const auto shown = [](const std::string& text) { return Truncated(Printable(text), kMaxSampleBytes); };
  std::string text;
  for (const StoredCompletion& sample : samples) {
    absl::StrAppend(&text, "  ", shown(sample.prompt), "\n    ", shown(sample.completion), "\n    reward ",
                    FormatNumber(sample.reward), ", reference answer ", shown(sample.answer), "\n");
  }
  return text;
}

}  // namespace

absl::StatusOr<std::string> ClosingText(const std::string& run_dir, const std::vector<std::string>& artifacts) {
  ASSIGN_OR_RETURN(const RunSummary summary, ReadSummary(run_dir));
  std::string report;
  // A run is worth a report without its samples too.
  const absl::StatusOr<std::unique_ptr<CompletionsReader>> reader = CompletionsReader::Open(run_dir);
  for (const SummaryTable& table : SummaryTables(summary.stages)) {
    absl::StrAppend(&report, report.empty() ? "" : "\n", FormatTable(table.rows));
    for (const std::string& note : table.notes) absl::StrAppend(&report, note, "\n");
    if (!reader.ok() || !StageViewOf(table.type).table.samples) continue;
    for (const StageReport& stage : summary.stages) {
      if (stage.type != table.type) continue;
      ASSIGN_OR_RETURN(const std::string samples, SampleCompletions(**reader, stage.name));
      if (samples.empty()) continue;
      absl::StrAppend(&report, "\nCompletions of ", ColumnHeading(stage, summary.stages), ":\n", samples);
    }
  }
  absl::StrAppend(&report, report.empty() ? "" : "\n", FormatTable(StageSecondsRows(summary.stages)), "\n",
                  Places(run_dir, artifacts));
  return report;
}

}  // namespace grpo
