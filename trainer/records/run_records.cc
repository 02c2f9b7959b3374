#include "trainer/records/run_records.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "trainer/records/completions_format.h"

namespace grpo {

absl::StatusOr<RunRecords> OpenRunRecords(const std::string& run_dir, const RecordsPosition& position, RunGuard* guard,
                                          const Clock& clock) {
  const std::string completions = absl::StrCat(run_dir, "/", kCompletionsFile);
  const std::string spending = run_dir + "/spending.json";
  // Both are there from a run's first moment on; the metrics say it themselves.
  for (const std::string& path : {completions, spending}) {
    std::error_code error;
    const bool has_come_further = !position.stages_done.empty() || position.step > 0;
    if (has_come_further && !std::filesystem::exists(path, error))
      RaiseAlarm(guard, path + " was missing when the run went on; it is begun anew, and what it held is lost");
  }
  RunRecords records;
  ASSIGN_OR_RETURN(records.metrics, MetricsLog::Open(run_dir + "/metrics.jsonl", position.stages_done, position.stage,
                                                     position.step, guard));
  std::vector<std::string> stages_begun = position.stages_done;
  stages_begun.push_back(position.stage);
  ASSIGN_OR_RETURN(records.completions, CompletionsLog::Open(completions, stages_begun, guard));
  ASSIGN_OR_RETURN(records.quarantine, QuarantineLog::Open(run_dir + "/quarantine.jsonl", position.resume, guard));
  records.spending = std::make_unique<SpendingLog>(spending, position.resume, clock, guard);
  return records;
}

}  // namespace grpo
