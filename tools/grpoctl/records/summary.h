// summary.json, and the tables that are made of it: as rows of cells, which text, HTML and Markdown render alike.
#ifndef GRPO_TOOLS_GRPOCTL_RECORDS_SUMMARY_H_
#define GRPO_TOOLS_GRPOCTL_RECORDS_SUMMARY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "trainer/stage/report.h"

namespace grpo {

// What a summary.json may have at most.
inline constexpr int64_t kMaxSummaryBytes = 64 << 20;

// What summary.json says. Plain data.
struct RunSummary {
  std::string name, id;
  int64_t seed = 0;
  // Those that are finished.
  std::vector<StageReport> stages;
};

// DataLoss for text that is not such a summary. Keys that are missing or of another type read as empty or 0. Pure.
absl::StatusOr<RunSummary> ParseSummary(absl::string_view summary_json);
// Of a run's folder. ReadFile's errors (common/files.h), NotFound among them, and ParseSummary's.
absl::StatusOr<RunSummary> ReadSummary(const std::string& run_dir);

// The first row is the heading, and the first column says what a row holds. Cells are made printable.
using TableRows = std::vector<std::vector<std::string>>;

// Stages of one type side by side, as the type's StageView says: one row a metric, with its confidence interval where
// there is one, one column a stage; by policy, the last rows hold what it took to make it (bill.h).
struct SummaryTable {
  // Of the stages, and the view's title. The table of a repeat's rounds, which has a row a round, has no type.
  std::string type, title;
  TableRows rows;
  // Whether some cell has its 95 % confidence interval in parentheses.
  bool intervals = false;
  // Sentences below it: each student beside its teacher, and which figures hold work that was done twice. Printable.
  std::vector<std::string> notes;
};
// Of every type that has a table and stages with something to show in it, in the order of stages.inc; then the rounds
// of each repeat. Stages that were left out are in the latter alone. Pure.
std::vector<SummaryTable> SummaryTables(const std::vector<StageReport>& stages);
// The heading of a stage's column there. `stage` is one of `stages`. Printable.
std::string ColumnHeading(const StageReport& stage, const std::vector<StageReport>& stages);
// Stage, type, seconds ("left out" where it did not run); the last row is the sum.
TableRows StageSecondsRows(const std::vector<StageReport>& stages);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_RECORDS_SUMMARY_H_
