// One way to learn: what a step needs, and how it becomes token streams and losses. A .cc beside this file and a line in
// trainer/algorithms.inc (algorithm_plugin.h says what is in it). tests/contract/algorithms_test.cc covers each.
//
// Links no torch: what an algorithm refers to and what a step of it costs is known to grpoctl too.
#ifndef GRPO_TRAINER_ALGORITHM_ALGORITHM_H_
#define GRPO_TRAINER_ALGORITHM_ALGORITHM_H_

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "configs/registry.h"
#include "coordinator/scored_group.h"
#include "trainer/batch/streams.h"
#include "trainer/loss/term.h"
#include "trainer/options.h"
#include "trainer/plugin.h"

namespace grpo {

// --- What a step is made of: a plan of each kind, and the input that answers it ---

// Groups sampled from the policy that is being trained.
struct RolloutPlan {
  // Key under `rewards`: the profile that scores them.
  std::string rewards;
  int64_t prompts_per_step = 0;
  int64_t group_size = 0;
  SamplingOptions sampling;
  // Optimizer updates that a full batch makes.
  int64_t updates_per_step = 1;
};
struct RolloutInput {
  // In the order of their group_index; fewer than planned when some were quarantined.
  std::vector<ScoredGroup> groups;
};

// Rows of documents.
struct CorpusPlan {
  int64_t rows_per_step = 0;
  // Targets in a row; the row has one token more.
  int64_t row_tokens = 0;
};
struct CorpusInput {
  // Token ids, [row_tokens + 1] each.
  std::vector<std::vector<uint32_t>> rows;
};

// Completions that others wrote.
struct TracesPlan {
  int64_t traces_per_step = 0;
};
// A prompt as the policy reads it and a completion to learn from, the end-of-sequence token included.
struct TokenizedTrace {
  std::vector<uint32_t> prompt_ids, completion_ids;
};
struct TracesInput {
  std::vector<TokenizedTrace> traces;
};

using StepPlan = std::variant<RolloutPlan, CorpusPlan, TracesPlan>;
using StepInput = std::variant<RolloutInput, CorpusInput, TracesInput>;

// A policy that is only read (a reference, a teacher), and the stream that the log-probabilities which it gives to the
// targets fill. The loop computes them, at the algorithm's temperature.
struct FrozenPolicy {
  // Key under `policies`.
  std::string policy;
  std::string stream;
};

// Pure: the same input gives the same batch. Any thread.
class Algorithm {
 public:
  virtual ~Algorithm() = default;

  virtual StepPlan plan() const = 0;
  // The terms whose sum is minimised.
  virtual std::vector<LossTerm> losses() const = 0;
  // Temperature of the distribution whose log-probabilities the losses read.
  virtual double temperature() const { return 1.0; }
  virtual std::vector<FrozenPolicy> frozen() const { return {}; }

  // Every key whose value names something elsewhere in the configuration, frozen policies included.
  virtual std::vector<Reference> references() const { return {}; }
  // What is wrong about the keys together, for a stage that trains this policy: OwnConflicts, and frozen policies that
  // are the trained one.
  std::vector<Conflict> Conflicts(const std::string& trained_policy) const;

  // What the losses read of the input, which is of the plan's kind (Internal otherwise). Every sequence says its group.
  virtual absl::StatusOr<StepBatch> Prepare(const StepInput& input) const = 0;

 protected:
  // What is wrong about keys that are each in range.
  virtual std::vector<Conflict> OwnConflicts() const { return {}; }
};

// The input as that of a plan of its kind: an algorithm's first line in Prepare. Internal when it is of another.
template <class Input>
absl::StatusOr<const Input*> InputOf(const StepInput& input) {
  if (const Input* of_kind = std::get_if<Input>(&input)) return of_kind;
  return absl::InternalError("a step's input is not of the kind that the algorithm's plan asks for");
}

using AlgorithmPlugin = Plugin<Algorithm>;

struct AlgorithmInfo {
  std::string name, summary, reference_table;
};
// In the order of algorithms.inc.
const std::vector<AlgorithmInfo>& ListAlgorithms();

// InvalidArgument for an unknown algorithm (the nearest is named). The plug-in stays valid.
absl::StatusOr<const AlgorithmPlugin*> FindAlgorithm(const std::string& name);
// The algorithm with these options. InvalidArgument for an unknown one, and for options that do not fit.
absl::StatusOr<std::unique_ptr<Algorithm>> MakeAlgorithm(const std::string& name, const Section& options);
// The same options with every key present. Errors as MakeAlgorithm.
absl::StatusOr<Section> ResolveAlgorithm(const std::string& name, const Section& options);

}  // namespace grpo

#endif  // GRPO_TRAINER_ALGORITHM_ALGORITHM_H_
