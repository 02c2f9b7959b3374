// The records of a file of problems, one by one and all together: which fields make a problem, which records are left
// out, and what is wrong with them. Shared by files that are held in memory and files that are streamed.
#ifndef GRPO_DATA_PROBLEM_RECORDS_H_
#define GRPO_DATA_PROBLEM_RECORDS_H_

#include <cstdint>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "configs/visit.h"
#include "data/problem_file.h"
#include "data/record.h"
#include "data/record_items.h"

namespace grpo {

// The fields of the preset, unless the configuration names others. InvalidArgument with the place in `section`.
absl::StatusOr<FieldPlan> MakeFieldPlan(const ProblemFileOptions& options, const FileKind& kind,
                                        const Section& section);

// MakeItem's problem of the record that stands there, or why it cannot be used: also when it is longer than a lease
// carries. Pure; any thread.
absl::StatusOr<RecordItem> TakeRecord(const FieldPlan& plan, absl::StatusOr<Json> record, const RecordPlace& place);

// What is compared of a record with the others of its file. Hashes: equal ones of different texts would cost one
// problem in 2^64.
struct RecordKeys {
  std::string id;
  uint64_t prompt = 0, problem = 0, answer = 0;
};
// The record's error where it has one. Pure; any thread.
absl::StatusOr<RecordKeys> KeysOf(const absl::StatusOr<RecordItem>& record);

// DataLoss with the place in `section`: the file at `path` holds nothing.
absl::Status NoProblem(const Section& section, const std::string& path);

// Looks at all records of a file, in order: counts and logs what is left out. One thread.
class RecordCheck {
 public:
  // `options` outlives this.
  RecordCheck(const ProblemFileOptions& options, const FileKind& kind);

  // Whether the next record is kept. With skip_bad_lines one that cannot be used is not; else it is DataLoss, which
  // ends the reading.
  absl::StatusOr<bool> Add(const absl::StatusOr<RecordKeys>& record, const RecordPlace& place);
  // Add's error; OK while there is none.
  const absl::Status& error() const { return error_; }

  // After the last record: logs what was left out of `path`. InvalidArgument, about the template, for one that makes
  // all problems one prompt, which `first_prompt` is.
  absl::Status Finish(const std::string& path, const std::string& first_prompt) const;

 private:
  // An error for a record that cannot be used.
  absl::StatusOr<bool> Keep(const absl::StatusOr<RecordKeys>& record, const RecordPlace& place);

  const ProblemFileOptions& options_;
  const bool drop_repeated_;
  // By the hash of an id: the number of its line or row.
  absl::flat_hash_map<uint64_t, int64_t> number_of_id_;
  absl::flat_hash_set<uint64_t> seen_, prompts_, problems_;
  int64_t num_kept_ = 0, num_skipped_ = 0, num_repeated_ = 0;
  absl::Status error_;
};

}  // namespace grpo

#endif  // GRPO_DATA_PROBLEM_RECORDS_H_
