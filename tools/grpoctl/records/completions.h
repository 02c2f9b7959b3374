// A run's stored completions (completions.sqlite), read while the run goes on or after it.
#ifndef GRPO_TOOLS_GRPOCTL_RECORDS_COMPLETIONS_H_
#define GRPO_TOOLS_GRPOCTL_RECORDS_COMPLETIONS_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/sqlite.h"
#include "nlohmann/json.hpp"

namespace grpo {

// Which rows: all conditions together; absent ones do not restrict.
struct CompletionsQuery {
  std::optional<std::string> stage = {};
  std::optional<int64_t> step = {};
  std::optional<std::string> prompt_id = {};
  // An SQL expression over the columns. It can read and nothing else.
  std::string where = {};
  // The first so many in the order of writing; -1 takes all.
  int64_t limit = -1;
};

// One sample; the columns are those of trainer/records/completions_format.h.
struct StoredCompletion {
  std::string stage, prompt_id, prompt, answer, policy;
  int64_t step = 0, sample_index = 0;
  double temperature = 0;
  // Bytes as they were sampled.
  std::string completion;
  int64_t num_tokens = 0;
  std::string outcome;
  bool excluded = false;
  double reward = 0;
  // Null where it is broken.
  nlohmann::ordered_json rules;
  // All columns as one object, in their order; bytes that are no text stand in base64 under "<column>_b64".
  nlohmann::ordered_json columns;
};

// One thread.
class CompletionsReader {
 public:
  // NotFound when the run has none, FailedPrecondition when another version's program wrote them.
  static absl::StatusOr<std::unique_ptr<CompletionsReader>> Open(const std::string& run_dir);

  // InvalidArgument for a `where` that is no expression, with SQLite's words and the columns. In the order of writing.
  // All of them are in memory. SqliteDatabase's errors otherwise.
  absl::StatusOr<std::vector<StoredCompletion>> Select(const CompletionsQuery& query) const;

 private:
  explicit CompletionsReader(std::unique_ptr<SqliteDatabase> database) : database_(std::move(database)) {}
  // The error of a statement, with what the columns are called if `where` is at fault.
  absl::Status ExplainWhere(const CompletionsQuery& query, const absl::Status& status) const;

  const std::unique_ptr<SqliteDatabase> database_;
};

// For people: a block per sample, every text on one line, made printable and cut. Pure.
std::string CompletionsText(const std::vector<StoredCompletion>& completions);
// JSON lines with every column; "rules" is an object. What is not UTF-8 in a text column is written as U+FFFD.
std::string CompletionsJson(const std::vector<StoredCompletion>& completions);

}  // namespace grpo

#endif  // GRPO_TOOLS_GRPOCTL_RECORDS_COMPLETIONS_H_
