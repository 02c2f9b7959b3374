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
#include "trainer/stage/decontaminate.h"
#include "trainer/stage/difficulty.h"
#include "trainer/stage/pseudo_labels.h"
#include "trainer/stage/selection.h"

namespace grpo {

// What became of one problem's completions.
struct GroupTraces {
  // From 0, in the order of the data.
  int64_t group_index = 0;
  // One object each: id, problem (the prompt as it was read), answer, completion, and where it comes from: data (the
  // entry), policy, model (of a policy that is only an address: what answered), policy_number, stage, group_index,
  // sample_index, seed (of the group), num_tokens (end-of-sequence not counted; absent where nobody knows), of the
  // problem solve_rate (of the samples that count those that are right, whatever their form) or majority_share and
  // majority_margin, reward, rewards (each rule's value), and reason (why it is kept: "right" by accuracy_rule,
  // "majority" of a pseudo-label, "rewritten"). rewritten_from is the id of the problem that this one was made of,
  // where there is one; a new problem has neither answer nor completion but the `original`.
  std::vector<nlohmann::ordered_json> traces;
  // What was measured of the problem: id, problem, answer (the pseudo-label where there is one), data, policy,
  // policy_number, stage, group_index, num_samples (that count), num_kept, and num_solved and solve_rate, or
  // majority_share and majority_margin; dropped where the problem as a whole was left out: "difficulty" or
  // "no_majority". Null for a problem that was not sampled.
  nlohmann::ordered_json problem;
  // Reason -> number:
  //   unscored        our own failure (a deadline, a rule's error), or excluded by the profile
  //   unfinished      cut off by max_new_tokens or the context: it would teach not to stop
  //   no_majority     the problem has no answer, and no answer of enough samples
  //   wrong           accuracy_rule gives less than 1; with a pseudo-label: gives another answer
  //   malformed       format_rule gives less than 1
  //   not_utf8        JSON cannot hold it
  //   no_problem      rewriting: it holds no new problem
  //   too_short, too_long, other_language, repetitive     `select` leaves it out (selection.h)
  //   contaminated    shares words with an evaluation set (decontaminate.h)
  //   duplicate       of an earlier completion of the same prompt
  //   difficulty      the problem's band of solve rates is left out, or this problem of it (difficulty.h)
  //   over_cap        beyond max_traces_per_problem
  std::map<std::string, int64_t> rejected;
  // Tokens that were sampled, kept or not.
  int64_t num_tokens = 0;
  // What an endpoint's answers to the group cost.
  v1::EndpointUsage usage = {};
};

// What was measured of the problems of a file of traces: "traces/x.jsonl" -> "traces/x.problems.jsonl".
std::string ProblemsFile(const std::string& traces_path);

// Remembers what it has seen. One thread.
class TraceSelector {
 public:
  // What it asks of a completion.
  struct Options {
    // Rules of the profile that must give 1. An empty format_rule asks for none.
    std::string accuracy_rule = {}, format_rule = {};
    // 0 keeps all that differ.
    int64_t max_traces_per_problem = 0;
    // The entry of `data`.
    std::string data = {};
    SelectionOptions select = {};
    std::vector<DifficultyBand> difficulty = {};
    PseudoLabelOptions pseudo_labels = {};
    // Whether completions are new problems (rewrite.h).
    bool rewrites = false;
    // Decides which problems of a band are kept.
    uint64_t seed = 0;
  };
  // `contaminated`, if not null, outlives this.
  explicit TraceSelector(Options options, const Decontamination* contaminated = nullptr)
      : options_(std::move(options)), filter_(options_.select), contaminated_(contaminated) {}
  // What answers for a policy that is only an address; empty, as before the call: the policy has weights.
  void SetModel(std::string model) { model_ = std::move(model); }

  // What is kept of a group, in the order of its completions, and why the others are not. Groups come in order: a
  // duplicate is one of an earlier completion. `problem` is the data's; the lease's prompt is another where problems
  // are rewritten.
  GroupTraces Select(const ScoredGroup& group, const v1::Prompt& problem);
  GroupTraces Select(const ScoredGroup& group) { return Select(group, group.lease.prompt()); }
  // As if Select had returned it.
  void Remember(const GroupTraces& group);

 private:
  struct Judgement;
  // What the group's samples say of the problem.
  Judgement Judge(const ScoredGroup& group, const v1::Prompt& problem) const;
  void LabelProblem(const ScoredGroup& group, Judgement* judgement) const;
  // Why the problem as a whole is left out; empty when it is not.
  std::string DropReason(const v1::Prompt& problem, const Judgement& judgement) const;
  // Why completion `i` is left out, but for those reasons that compare it with others; empty when it may be kept.
  std::string RejectionReason(const ScoredGroup& group, const v1::Prompt& problem, const Judgement& judgement,
                              size_t i) const;
  // The same for what its text says.
  std::string TextReason(const v1::Prompt& problem, const v1::Completion& completion) const;
  // Whether the sample counts: our own failure is no wrong answer.
  static bool IsCounted(const v1::Score& score, bool without_answer);
  // Equal for what would be a duplicate.
  std::string IdentityOf(const v1::Prompt& problem, const std::string& text) const;
  // The line of completion `i`.
  nlohmann::ordered_json TraceOf(const ScoredGroup& group, const v1::Prompt& problem, const Judgement& judgement,
                                 size_t i) const;
  nlohmann::ordered_json ProblemOf(const ScoredGroup& group, const v1::Prompt& problem, const Judgement& judgement,
                                   size_t num_kept) const;
  // The solve rate, or the majority's.
  void AddMeasured(const Judgement& judgement, nlohmann::ordered_json* line) const;

  const Options options_;
  const TextFilter filter_;
  const Decontamination* const contaminated_;
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
  // The same of groups.
  absl::Status ForEachGroup(absl::FunctionRef<absl::Status(const GroupTraces& group)> take) const;
  // Writes all traces, one a line, durably and whole or not at all; returns the content's SHA-256 (hex). Errors of
  // ForEach and of SyncedFileWriter.
  absl::StatusOr<std::string> Export(const std::string& path) const;
  // The same of what was measured of each problem that was sampled (GroupTraces::problem).
  absl::StatusOr<std::string> ExportProblems(const std::string& path) const;

 private:
  using LineSink = std::function<absl::Status(const nlohmann::ordered_json& line)>;
  // Export's file, of the lines that `lines` hands over.
  static absl::StatusOr<std::string> WriteLines(const std::string& path,
                                                absl::FunctionRef<absl::Status(const LineSink& write)> lines);
  TraceLog(std::string path, std::FILE* file, int64_t num_groups)
      : path_(std::move(path)), file_(file), num_groups_(num_groups) {}

  const std::string path_;
  // Open for appending; path_ is for Export, which reads it again.
  std::FILE* const file_;
  int64_t num_groups_;
};

}  // namespace grpo

#endif  // GRPO_TRAINER_STAGE_TRACES_H_
