// completions.sqlite: every sample that a stage asked for, with its prompt and its scores; also after a resume. Links
// no torch.
#ifndef GRPO_TRAINER_RECORDS_COMPLETIONS_LOG_H_
#define GRPO_TRAINER_RECORDS_COMPLETIONS_LOG_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/sqlite.h"
#include "coordinator/scored_group.h"

namespace grpo {

// One thread. Readers may look on (trainer/records/completions_format.h).
class CompletionsLog {
 public:
  // Opens for appending. Rows of other stages than these are deleted: a resumed run writes them again.
  // FailedPrecondition for a file of another format; SqliteDatabase's errors.
  static absl::StatusOr<std::unique_ptr<CompletionsLog>> Open(const std::string& path,
                                                              const std::vector<std::string>& stages);

  // Deletes the stage's rows beyond `step`: what a stage that goes on there writes again. An error is logged, as in
  // Append.
  void Rewind(const std::string& stage, int64_t step);
  // All of it or nothing. `step` says how far the stage had come. An error is logged, once until one is written again,
  // and the run goes on: completions are not worth a run.
  void Append(const std::string& stage, int64_t step, const std::vector<ScoredGroup>& groups);

 private:
  CompletionsLog(std::unique_ptr<SqliteDatabase> database, SqliteStatement insert_group, SqliteStatement insert_sample);
  // Says that it cannot be written, once.
  void Note(const absl::Status& written);
  // The row of the group, then one for each sample; within Append's transaction.
  absl::Status WriteGroup(const std::string& stage, int64_t step, const ScoredGroup& group);

  const std::unique_ptr<SqliteDatabase> database_;
  SqliteStatement insert_group_, insert_sample_;
  // Whether the newest write failed, which was said.
  bool failed_ = false;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_RECORDS_COMPLETIONS_LOG_H_
