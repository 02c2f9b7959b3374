// metrics.jsonl: one line a step, in order, also after a resume. Links no torch.
#ifndef GRPO_TRAINER_RECORDS_METRICS_LOG_H_
#define GRPO_TRAINER_RECORDS_METRICS_LOG_H_

#include <cstdio>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "trainer/records/run_guard.h"

namespace grpo {

// A line: {"stage":"r1_zero","step":12,"loss":...}; a number that is not finite is written as null. One thread.
class MetricsLog {
 public:
  // Opens for appending. Lines of stages from `stage_index` on that a resumed run will write again are dropped: keep
  // says which stay. `stages_done` names the stages that are finished; of `stage` the first `step` lines stay. Lines
  // that are torn or no object are dropped too. A file that is missing though there were steps is an alarm.
  // ErrnoStatus's codes when the file cannot be read or opened. `guard` outlives the log; null: nobody else is in the
  // folder.
  static absl::StatusOr<std::unique_ptr<MetricsLog>> Open(const std::string& path,
                                                          const std::vector<std::string>& stages_done,
                                                          const std::string& stage, int64_t step,
                                                          RunGuard* guard = nullptr);
  ~MetricsLog();

  // Reaches the file at once; durability is the checkpoint's business. A metric that metrics.inc does not declare is
  // left out, with an error in the log: nobody could say what it means. `hashes` are written as text. A file that
  // cannot be written is said once in the log, and the run goes on without it. One that was deleted or replaced is an
  // alarm, and begun anew: its first line says so under "note". Nothing is written where RunGuard forbids it.
  void Append(const std::string& stage, int64_t step, const std::map<std::string, double>& metrics,
              const std::map<std::string, std::string>& hashes = {});

 private:
  MetricsLog(std::string path, std::FILE* file, RunGuard* guard) : path_(std::move(path)), file_(file), guard_(guard) {}
  // What was in the file is gone: an alarm, and a note in the next line.
  void Lost(const std::string& how);
  // Opens the file anew when it is no longer at its path. The errno when it cannot be opened, otherwise 0.
  int BeginAnewIfGone();
  // The errno, or 0.
  int Write(const std::string& line);

  const std::string path_;
  std::FILE* file_;
  RunGuard* const guard_;
  // For the next line.
  std::string note_;
  // Whether the newest write failed, which was said.
  bool failed_ = false;
  // Undeclared metrics that were said to be so.
  std::set<std::string> refused_;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_RECORDS_METRICS_LOG_H_
