// What a report tells, gathered from a run folder: the same for HTML and Markdown.
#ifndef GRPO_TOOLS_PAGE_DATA_H_
#define GRPO_TOOLS_PAGE_DATA_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/grpoctl/records/summary.h"
#include "tools/page/chart.h"

namespace grpo {

// What one stage sampled first for a problem.
struct ShownSample {
  // Heading of the stage's column in the table of evaluations.
  std::string heading;
  bool right = false, greedy = false;
  // As text: "1.1", or "none" where the sample was excluded.
  std::string reward;
  int64_t num_tokens = 0;
  // Bytes.
  std::string completion;
};

// One problem, as every stage answered it whose samples are shown.
struct SampledProblem {
  std::string prompt_id, prompt, answer;
  std::vector<ShownSample> samples;
};

struct ReportData {
  // Texts are as they were found: not made printable.
  std::string name, id, state;
  std::string seed;
  // SummaryTables, and StageSecondsRows.
  std::vector<SummaryTable> tables;
  TableRows seconds;
  // By Stage::chart_group; their ids are also file names.
  std::vector<Chart> charts;
  std::vector<SampledProblem> problems;
};

// With whatever is there already; NotFound when the folder holds no run.
absl::StatusOr<ReportData> GatherReport(const std::string& run_dir);

}  // namespace grpo

#endif  // GRPO_TOOLS_PAGE_DATA_H_
