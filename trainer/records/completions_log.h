// completions.sqlite: every sample that a stage asked for, with its prompt and its scores; also after a resume. Links
// no torch.
#ifndef GRPO_TRAINER_RECORDS_COMPLETIONS_LOG_H_
#define GRPO_TRAINER_RECORDS_COMPLETIONS_LOG_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/scored_group.h"
#include "trainer/records/run_guard.h"

namespace grpo {

// One thread. Readers may look on (trainer/records/completions_format.h).
class CompletionsLog {
 public:
  // Opens for appending. Rows of other stages than these are deleted: a resumed run writes them again.
  // FailedPrecondition for a file of another format; SqliteDatabase's errors. `guard` outlives the log; null: nobody
  // else is in the folder.
  static absl::StatusOr<std::unique_ptr<CompletionsLog>> Open(const std::string& path,
                                                              const std::vector<std::string>& stages,
                                                              RunGuard* guard = nullptr);
  ~CompletionsLog();

  // Deletes the stage's rows beyond `step`: what a stage that goes on there writes again. An error is logged, as in
  // Append.
  void Rewind(const std::string& stage, int64_t step);
  // All of it or nothing. `step` says how far the stage had come. An error is logged, once until one is written again,
  // and the run goes on: completions are not worth a run. A file that was deleted or replaced is an alarm, and begun
  // anew. Nothing is written where RunGuard forbids it.
  void Append(const std::string& stage, int64_t step, const std::vector<ScoredGroup>& groups);

 private:
  // An open file and what is done with it.
  struct File;
  CompletionsLog(std::string path, std::unique_ptr<File> file, RunGuard* guard);
  static absl::StatusOr<std::unique_ptr<File>> OpenFile(const std::string& path);
  // Runs `write` in a transaction, where something may be written, and says so when that fails.
  void Write(const std::function<absl::Status()>& write);
  // Opens the file anew when it is no longer at its path.
  absl::Status BeginAnewIfGone();
  // Says that it cannot be written, once.
  void Note(const absl::Status& written);
  // The row of the group, then one for each sample; within Append's transaction.
  absl::Status WriteGroup(const std::string& stage, int64_t step, const ScoredGroup& group);

  const std::string path_;
  // Null after it was gone and could not be opened anew.
  std::unique_ptr<File> file_;
  RunGuard* const guard_;
  // Whether the newest write failed, which was said.
  bool failed_ = false;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_RECORDS_COMPLETIONS_LOG_H_
