// metrics.jsonl: one line a step, in order, also after a resume. Links no torch.
#ifndef GRPO_TRAINER_RECORDS_METRICS_LOG_H_
#define GRPO_TRAINER_RECORDS_METRICS_LOG_H_

#include <cstdio>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "absl/status/statusor.h"

namespace grpo {

// A line: {"stage":"r1_zero","step":12,"loss":...}; a number that is not finite is written as null. One thread.
class MetricsLog {
 public:
  // Opens for appending. Lines of stages from `stage_index` on that a resumed run will write again are dropped: keep
  // says which stay. `stages_done` names the stages that are finished; of `stage` the first `step` lines stay. Lines
  // that are torn or no object are dropped too. ErrnoStatus's codes when the file cannot be read or opened.
  static absl::StatusOr<std::unique_ptr<MetricsLog>> Open(const std::string& path,
                                                          const std::vector<std::string>& stages_done,
                                                          const std::string& stage, int64_t step);
  ~MetricsLog();

  // Reaches the file at once; durability is the checkpoint's business. A metric that metrics.inc does not declare is
  // left out, with an error in the log: nobody could say what it means. `hashes` are written as text. A file that
  // cannot be written is said once in the log, and the run goes on without it.
  void Append(const std::string& stage, int64_t step, const std::map<std::string, double>& metrics,
              const std::map<std::string, std::string>& hashes = {});

 private:
  explicit MetricsLog(std::FILE* file) : file_(file) {}
  std::FILE* const file_;
  bool failed_ = false;
  // Undeclared metrics that were said to be so.
  std::set<std::string> refused_;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_RECORDS_METRICS_LOG_H_
