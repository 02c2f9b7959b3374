// What a run keeps of itself line by line, opened together where it goes on. Links no torch.
#ifndef GRPO_TRAINER_RECORDS_RUN_RECORDS_H_
#define GRPO_TRAINER_RECORDS_RUN_RECORDS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "trainer/records/completions_log.h"
#include "trainer/records/metrics_log.h"
#include "trainer/records/quarantine_log.h"
#include "trainer/records/run_guard.h"
#include "trainer/records/spending.h"

namespace grpo {

// Where a run begins or goes on.
struct RecordsPosition {
  // Whether it goes on with what earlier starts have written.
  bool resume = false;
  std::vector<std::string> stages_done;
  // The stage that comes next, and how many of its steps are done. Empty behind the last stage.
  std::string stage;
  int64_t step = 0;
};

struct RunRecords {
  std::unique_ptr<MetricsLog> metrics;
  std::unique_ptr<CompletionsLog> completions;
  std::unique_ptr<QuarantineLog> quarantine;
  std::unique_ptr<SpendingLog> spending;
};

// In `run_dir`, without what the run is going to write again. A record that is missing though the run has come further
// is an alarm. Errors of the records' own Open. `guard` (null: nobody else is in the folder) and `clock` outlive them.
absl::StatusOr<RunRecords> OpenRunRecords(const std::string& run_dir, const RecordsPosition& position, RunGuard* guard,
                                          const Clock& clock);

}  // namespace grpo

#endif  // GRPO_TRAINER_RECORDS_RUN_RECORDS_H_
