// summary.json, and the tables that are made of it: as rows of cells, which text, HTML and Markdown render alike.
#ifndef GRPO_TOOLS_GRPOCTL_RECORDS_SUMMARY_H_
#define GRPO_TOOLS_GRPOCTL_RECORDS_SUMMARY_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace grpo {

// What a summary.json may have at most.
inline constexpr int64_t kMaxSummaryBytes = 64 << 20;

struct StageSummary {
  std::string name, type, policy;
  // Artifacts: what the stage wrote for others, and what it read of theirs. Empty for none.
  std::string artifact, data_artifact;
  double seconds = 0;
  std::map<std::string, double> metrics;
};

struct RunSummary {
  std::string name, id;
  int64_t seed = 0;
  // Those that are finished.
  std::vector<StageSummary> stages;
};

// DataLoss for text that is not such a summary.
absl::StatusOr<RunSummary> ParseSummary(absl::string_view summary_json);

// The first row is the heading, and the first column says what a row holds. Cells are made printable.
using TableRows = std::vector<std::vector<std::string>>;

// One row per metric, with its confidence interval where the summary has one, and the seconds that the policy was
// trained for, with those in which the traces that it learned from were written; one column per evaluate stage, headed
// by the policy it measured (by the stage's name where a policy was measured twice). Empty without evaluate stages.
TableRows EvaluationRows(const std::vector<StageSummary>& stages);
// The heading of a stage's column there.
std::string EvaluationHeading(const StageSummary& stage, const std::vector<StageSummary>& stages);
// What became of the completions of each synthesize stage: one row per metric, one column per stage. Empty without such
// stages.
TableRows SynthesisRows(const std::vector<StageSummary>& stages);
// Stage, type, seconds; the last row is the sum.
TableRows StageSecondsRows(const std::vector<StageSummary>& stages);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_RECORDS_SUMMARY_H_
