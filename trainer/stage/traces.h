// From sampled groups to a data set: which completions are kept, why the others are not, and a log of it that a stage
// goes on from. Links no torch.
#ifndef GRPO_TRAINER_STAGE_TRACES_H_
#define GRPO_TRAINER_STAGE_TRACES_H_

#include <cstdint>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/scored_group.h"
#include "nlohmann/json.hpp"

namespace grpo {

// What became of one problem's completions.
struct GroupTraces {
  // From 0, in the order of the data.
  int64_t group_index = 0;
  // One object each: id, problem (the prompt as it was read), answer, completion, and where it comes from: policy, model
  // (of a policy that is only an address: what answered), policy_number, stage, group_index, sample_index, seed (of the
  // group), num_tokens (end-of-sequence not counted; absent where nobody knows), reward, rewards (each rule's value).
  std::vector<nlohmann::ordered_json> traces;
  // Reason -> number:
  //   unscored    our own failure (a deadline, a rule's error), or excluded by the profile
  //   unfinished  cut off by max_new_tokens or the context: it would teach not to stop
  //   wrong       accuracy_rule gives less than 1
  //   malformed   format_rule gives less than 1
  //   not_utf8    JSON cannot hold it
  //   duplicate   of an earlier completion of the same prompt
  //   over_cap    beyond max_traces_per_problem
  std::map<std::string, int64_t> rejected;
  // Tokens that were sampled, kept or not.
  int64_t num_tokens = 0;
  // What an endpoint's answers to the group cost.
  v1::EndpointUsage usage = {};
};

// Remembers what it has seen. One thread.
class TraceSelector {
 public:
  // What it asks of a completion.
  struct Options {
    // Rules of the profile that must give 1. An empty format_rule asks for none.
    std::string accuracy_rule, format_rule;
    // 0 keeps all that differ.
    int64_t max_traces_per_problem = 0;
  };
  explicit TraceSelector(Options options) : options_(std::move(options)) {}
  // What answers for a policy that is only an address; empty, as before the call: the policy has weights.
  void SetModel(std::string model) { model_ = std::move(model); }

  // What is kept of a group, in the order of its completions, and why the others are not. Groups come in order: a
  // duplicate is one of an earlier completion.
  GroupTraces Select(const ScoredGroup& group);
  // As if Select had returned it.
  void Remember(const GroupTraces& group);

 private:
  // Empty when the completion is kept.
  std::string RejectionReason(const v1::Prompt& prompt, const v1::ScoredCompletion& scored, size_t num_kept) const;

  const Options options_;
  std::string model_;
  // Hashes of prompt and completion.
  std::set<std::string> seen_;
};

// One line a problem, in order, in RUN/synthesis/<stage>.jsonl: all that a synthesize stage needs to go on, for what a
// group becomes depends on nothing else. A torn last line is dropped. One thread.
class TraceLog {
 public:
  // `origin` says what the lines depend on (policy, weights, rules); a log of another origin is begun anew. Groups that
  // are there already are passed to `replay` in order. Its folder exists. What stands behind the first line that is
  // torn or out of order is cut off. ErrnoStatus's codes.
  static absl::StatusOr<std::unique_ptr<TraceLog>> Open(const std::string& path, const nlohmann::ordered_json& origin,
                                                        const std::function<void(const GroupTraces&)>& replay);
  ~TraceLog();

  // Groups that are there.
  int64_t num_groups() const { return num_groups_; }
  // The next group. It reaches the file at once. So kill -9 loses nothing; a power failure may. ErrnoStatus's codes.
  absl::Status Append(const GroupTraces& group);
  // Hands over all traces in order, as Export writes them. The first error of `take`; DataLoss for a line that cannot
  // be read back.
  absl::Status ForEach(absl::FunctionRef<absl::Status(const nlohmann::ordered_json& trace)> take) const;
  // Writes all traces, one a line, durably and whole or not at all; returns the content's SHA-256 (hex). Errors of
  // ForEach and of SyncedFileWriter.
  absl::StatusOr<std::string> Export(const std::string& path) const;

 private:
  TraceLog(std::string path, std::FILE* file, int64_t num_groups)
      : path_(std::move(path)), file_(file), num_groups_(num_groups) {}

  const std::string path_;
  // Open for appending; path_ is for Export, which reads it again.
  std::FILE* const file_;
  int64_t num_groups_;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_STAGE_TRACES_H_
