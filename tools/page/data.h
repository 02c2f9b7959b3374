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
  // Whether Stage::accuracy_rule gave it 1; whether it was decoded at temperature 0.
  bool right = false, greedy = false;
  // As text: "1.1", or "none" where the sample was excluded.
  std::string reward;
  int64_t num_tokens = 0;
  // Bytes.
  std::string completion;
};

// One problem, as every stage answered it whose samples are shown.
struct SampledProblem {
  // As stored: the id in its source, what the policy read, the reference answer.
  std::string prompt_id, prompt, answer;
  std::vector<ShownSample> samples;
};

struct ReportData {
  // Texts are as they were found: not made printable.
  // `state` is "finished", or "running, 2 of 4 stages done" or the same with "stopped".
  std::string name, id, state;
  std::string seed;
  // SummaryTables, and StageSecondsRows.
  std::vector<SummaryTable> tables;
  TableRows seconds;
  // By Stage::chart_group; their ids are also file names. Each in that group's order.
  std::vector<Chart> charts;
  // The first six that every stage has whose samples are shown.
  std::vector<SampledProblem> problems;
};

// With whatever is there already; NotFound when the folder holds no run. DataLoss for a summary.json that is broken;
// CompletionsReader's errors but NotFound. Lines of metrics.jsonl that are cut or broken are left out. A run may go on
// meanwhile.
absl::StatusOr<ReportData> GatherReport(const std::string& run_dir);

}  // namespace grpo

#endif  // GRPO_TOOLS_PAGE_DATA_H_
