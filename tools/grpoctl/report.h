// What a finished run shows: its evaluations side by side, sample completions, seconds per stage, and where everything
// lies.
#ifndef GRPO_TOOLS_GRPOCTL_REPORT_H_
#define GRPO_TOOLS_GRPOCTL_REPORT_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace grpo {

struct StageSummary {
  std::string name, type, policy;
  double seconds = 0;
  std::map<std::string, double> metrics;
};

// summary.json's stages. DataLoss for text that is not such a summary.
absl::StatusOr<std::vector<StageSummary>> ParseSummary(absl::string_view summary_json);

// One row per metric, with its confidence interval where the summary has one; one column per evaluate stage, headed by
// the policy it measured (by the stage's name where a policy was measured twice). Empty without evaluate stages.
std::string EvaluationTable(const std::vector<StageSummary>& stages);

// The first completions of completions/<stage>.jsonl, of different prompts, made printable; empty when there are none.
std::string SampleCompletions(const std::string& run_dir, const std::string& stage, int num_samples);

// All of it. `artifacts` are what the run exports, relative to its folder. NotFound or DataLoss when summary.json is
// missing or broken.
absl::StatusOr<std::string> RunReport(const std::string& run_dir, const std::vector<std::string>& artifacts);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_REPORT_H_
