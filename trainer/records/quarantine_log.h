// quarantine.jsonl: the groups that a run goes on without because their prompts killed their workers, one JSON line
// each: stage, group_index, the problem's id, prompt and answer, workers (ids of those that died). A resumed run leaves
// the same groups out from the start. Links no torch.
#ifndef GRPO_TRAINER_RECORDS_QUARANTINE_LOG_H_
#define GRPO_TRAINER_RECORDS_QUARANTINE_LOG_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/scored_group.h"
#include "trainer/records/run_guard.h"

namespace grpo {

// One thread.
class QuarantineLog {
 public:
  struct Entry {
    // A group, by its stage and its number there.
    std::string stage;
    int64_t group_index = 0;
  };

  // `resume`: goes on with what earlier starts of the run wrote; otherwise the first Append begins the file anew.
  // DataLoss with the line's number for a line that is no entry. Errors of ReadFile; a file that is not there is an
  // empty one. `guard` outlives the log; null: nobody else is in the folder.
  static absl::StatusOr<std::unique_ptr<QuarantineLog>> Open(const std::string& path, bool resume,
                                                             RunGuard* guard = nullptr);

  // Adds the groups; they are durable when this returns OK. After an error they are written again with the next. Writes
  // the whole file anew. WriteFileAtomically's errors, and RunGuard::Check's.
  absl::Status Append(const std::vector<QuarantinedGroup>& groups);

  // Those of earlier starts and of this one, also where the file could not be written.
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  QuarantineLog(std::string path, RunGuard* guard) : path_(std::move(path)), guard_(guard) {}

  const std::string path_;
  RunGuard* const guard_;
  std::vector<Entry> entries_;
  // What the file holds, or should.
  std::string lines_;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_RECORDS_QUARANTINE_LOG_H_
